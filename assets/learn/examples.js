// The numbers that the lesson starts from. Chosen so that each shows one thing; the visitor may change them all.

const TOKENS = [
  [0.2, 4, 0.5, 1, 0.1, 3, 0.6, 1.2],
  [0.1, -3, 0.8, 0.5, 0.3, 2, -0.4, 1],
  [-0.3, 5, 0.2, -1, 0.2, -4, 0.5, -0.8],
];
const WEIGHTS = [
  [0.9, -0.2, 0.8, 0.6, -0.7, 0.3, 0.5, -0.1],
  [-0.3, 0.8, -0.1, 0.6, 0.2, -0.5, 0.05, 0.7],
  [0.15, -0.1, 0.2, 0.05, 0.1, -0.15, 0.2, 0.15],
];

/** A matrix with some cells changed: `{"row,column": value}`. */
function changed(matrix, cells) {
  return matrix.map((row, i) => row.map((v, j) => cells[`${i},${j}`] ?? v));
}

const EXAMPLES = {
  start: { name: "The lesson's own", w: WEIGHTS, x: TOKENS, note: "" },
  fresh: {
    name: "New numbers",
    w: changed(WEIGHTS, {
      "1,0": 0.8,
      "1,1": -0.1,
      "1,2": 0.3,
      "1,3": 0.7,
      "1,4": -0.5,
      "1,5": 0.2,
      "1,6": 0.4,
      "1,7": -0.6,
    }),
    x: TOKENS,
    note: "",
  },
  close: {
    name: "Close scores",
    w: [
      [1.1, -0.12, 0.8, 0.6, -1.4, 0.16, 0.9, -0.4],
      [-1.9, 0.13, -0.9, 0.6, 1.2, -0.14, 1, 0.45],
      [2.1, -0.1, 0.7, 0.45, 1.8, -0.15, 0.7, 0.5],
    ],
    x: TOKENS,
    note: "",
  },
  loud: {
    name: "A loud input",
    w: WEIGHTS,
    x: changed(TOKENS, { "0,6": 60, "1,6": -40, "2,6": 50 }),
    note: "in 6 is far louder than the rest, as happens in real models. Wanda keeps every weight on it, even 0.05; Magnitude prunes that one.",
  },
  tie: {
    name: "A tie",
    w: changed(WEIGHTS, { "0,0": 0.5, "0,2": 0.5, "0,3": 0.5, "0,4": 0.5, "0,6": 0.5 }),
    x: TOKENS,
    note: "Five weights of out 0 are equal. Magnitude must prune one or more of them: of equal scores, the earlier are pruned. Wanda has no tie: their inputs differ.",
  },
  vanish: {
    name: "A row that vanishes",
    w: changed(WEIGHTS, {
      "2,0": 0.015,
      "2,1": -0.01,
      "2,2": 0.02,
      "2,3": 0.005,
      "2,4": 0.01,
      "2,5": -0.015,
      "2,6": 0.02,
      "2,7": 0.015,
    }),
    x: TOKENS,
    note: "out 2 has tiny weights. Let the whole layer compete, and nothing of it is left.",
  },
  zero: {
    name: "An input that is always zero",
    w: WEIGHTS,
    x: changed(TOKENS, { "0,2": 0, "1,2": 0, "2,2": 0 }),
    note: "in 2 is always zero: its weights do nothing. Wanda scores them 0 and prunes them first, without any error. Magnitude keeps 0.8.",
  },
};

const MANY = 32;
const IN_STEP = 0.9;
const SPREAD = 0.5;

/** The visitor's own tokens, and more, up to MANY: random (always the same), each input about as loud as in the
 * visitor's tokens, now louder and now quieter, and, as in real models, in step with others: every second one. */
function manyTokens(own) {
  const random = noise(11);
  const loud = own[0].map((_, j) => Math.sqrt(own.reduce((sum, token) => sum + token[j] ** 2, 0) / own.length));
  const more = Array.from({ length: MANY - own.length }, () => {
    const shared = [random(), random()];
    return loud.map((size, j) => {
      const swell = Math.exp(SPREAD * random() - SPREAD ** 2);
      return f32(size * swell * (IN_STEP * shared[j % 2] + Math.sqrt(1 - IN_STEP ** 2) * random()));
    });
  });
  return [...own, ...more];
}

/** Numbers of a normal distribution, always the same ones for a seed. */
function noise(seed) {
  let state = seed;
  const uniform = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state + 0.5) / 2 ** 32;
  };
  return () => Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform());
}
