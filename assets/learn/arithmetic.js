"use strict";
// The lesson's arithmetic: what wanda_core/method does, on matrices small enough to follow by hand. Nothing here knows
// a page, so node requires this file as it is, and a test holds it against the engine.
// W is an array of rows (out, in), X an array of tokens (tokens, in), a mask true where kept.

const LARGEST = 1e6;
const ADMM_DAMPING = 0.1;
const ADMM_STEPS = 20;
const SPARSEGPT_DAMPING = 0.01;

const f32 = Math.fround;

/** The number that someone typed, or null where it is none, or beyond ±LARGEST. A decimal comma will do, but not where
 * it may part thousands, as in 1,000. */
function readNumber(text) {
  const typed = String(text).trim().replace("−", "-");
  const plain = /^[+-]?[1-9]\d{0,2},\d{3}$/.test(typed) ? typed : typed.replace(/^([+-]?\d*),(\d+)$/, "$1.$2");
  if (!/^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(plain)) return null;
  const value = Number(plain);
  return Math.abs(value) <= LARGEST ? value : null;
}

/** L2 norm of every input over all tokens, as the engine keeps it: squared in float32, summed in float64. */
function normsOf(x) {
  return x[0].map((_, j) => f32(Math.sqrt(x.reduce((sum, token) => sum + f32(f32(token[j]) ** 2), 0))));
}

/** Scores (out, in) in float32: |W| by `magnitude`, |W| times the norm of its input by `wanda`. */
function scoresOf(method, w, norms) {
  return w.map((row) =>
    row.map((v, j) => (method === "wanda" ? f32(Math.abs(f32(v)) * norms[j]) : Math.abs(f32(v)))),
  );
}

/** Keep all but the `prune` lowest of a list; of equal scores the earlier ones are pruned. */
function keepHighest(scores, prune) {
  const order = scores.map((_, i) => i).sort((a, b) => scores[a] - scores[b] || a - b);
  const kept = scores.map(() => true);
  for (const i of order.slice(0, prune)) kept[i] = false;
  return kept;
}

/** How many of a group of `size` weights are pruned. */
function pruneCount(size, sparsity) {
  return Math.floor(size * sparsity);
}

/** `[N, M]` of an N:M pattern, null for `unstructured`. */
function parsePattern(pattern) {
  return pattern === "unstructured" ? null : pattern.split(":").map(Number);
}

/** The comparison groups of a matrix: lists of [row, column] whose weights compete with one another. */
function groupsOf(rows, columns, { pattern, group }) {
  const each = (count, size, place) =>
    Array.from({ length: count }, (_, g) => Array.from({ length: size }, (_, k) => place(g, k)));
  const nm = parsePattern(pattern);
  if (nm) {
    const perRow = columns / nm[1];
    return each(rows * perRow, nm[1], (g, k) => [Math.floor(g / perRow), (g % perRow) * nm[1] + k]);
  }
  if (group === "layer") return each(1, rows * columns, (_, k) => [Math.floor(k / columns), k % columns]);
  if (group === "input") return each(columns, rows, (g, k) => [k, g]);
  return each(rows, columns, (g, k) => [g, k]);
}

/** The mask (out, in) under `{pattern, sparsity, group}`; an N:M pattern has its own groups and sparsity. */
function maskOf(scores, settings) {
  const mask = scores.map((row) => row.map(() => true));
  const nm = parsePattern(settings.pattern);
  for (const places of groupsOf(scores.length, scores[0].length, settings)) {
    const prune = nm ? nm[1] - nm[0] : pruneCount(places.length, settings.sparsity);
    keepHighest(
      places.map(([i, j]) => scores[i][j]),
      prune,
    ).forEach((kept, k) => {
      mask[places[k][0]][places[k][1]] = kept;
    });
  }
  return mask;
}

/** W with the pruned weights at zero. */
function pruned(w, mask) {
  return w.map((row, i) => row.map((v, j) => (mask[i][j] ? v : 0)));
}

/** Squared size of X V^T, of every row of V. */
function outputSquares(v, x) {
  return v.map((row) =>
    x.reduce((sum, token) => sum + row.reduce((dot, value, j) => dot + value * token[j], 0) ** 2, 0),
  );
}

const ratio = (moved, size) => (size > 0 ? Math.sqrt(moved / size) : 0);
const total = (values) => values.reduce((sum, value) => sum + value, 0);

/** `||X (W - W')^T|| / ||X W^T||`: of the whole output, and of every output alone. Zero where the output is zero. */
function outputError(w, changed, x) {
  const [dense, tokens] = [w, x].map((rows) => rows.map((row) => row.map(f32)));
  const moved = outputSquares(
    dense.map((row, i) => row.map((v, j) => v - changed[i][j])),
    tokens,
  );
  const size = outputSquares(dense, tokens);
  return { all: ratio(total(moved), total(size)), rows: moved.map((m, i) => ratio(m, size[i])) };
}

/** `X^T X`, (in, in). */
function gramOf(x) {
  return x[0].map((_, i) => x[0].map((_, j) => x.reduce((sum, token) => sum + f32(token[i]) * f32(token[j]), 0)));
}

/** L, lower triangular, with L L^T the given matrix. */
function cholesky(a) {
  const lower = a.map((row) => row.map(() => 0));
  for (let i = 0; i < a.length; i++) {
    for (let j = 0; j <= i; j++) {
      let rest = a[i][j];
      for (let k = 0; k < j; k++) rest -= lower[i][k] * lower[j][k];
      lower[i][j] = i === j ? Math.sqrt(rest) : rest / lower[j][j];
    }
  }
  return lower;
}

/** The inverse of a lower triangular matrix. */
function inverseOfLower(lower) {
  const inverse = lower.map((row) => row.map(() => 0));
  for (let column = 0; column < lower.length; column++) {
    for (let i = column; i < lower.length; i++) {
      let rest = i === column ? 1 : 0;
      for (let k = column; k < i; k++) rest -= lower[i][k] * inverse[k][column];
      inverse[i][column] = rest / lower[i][i];
    }
  }
  return inverse;
}

const times = (a, b) => a.map((row) => b[0].map((_, j) => row.reduce((sum, v, k) => sum + v * b[k][j], 0)));
const transposed = (a) => a[0].map((_, j) => a.map((row) => row[j]));

/** Least squares on the kept weights by ADMM (Boza, arXiv 2401.02938, algorithm 1), as wanda_core/method/admm.py. */
function admm(w, x, mask) {
  const gram = gramOf(x);
  const norms = gram.map((row, j) => Math.sqrt(Math.max(row[j], 0)) || 1);
  const scaled = gram.map((row, i) => row.map((v, j) => v / norms[i] / norms[j]));
  const damping = (ADMM_DAMPING * total(scaled.map((row, j) => row[j]))) / scaled.length;
  scaled.forEach((row, j) => (row[j] += damping));
  const half = inverseOfLower(cholesky(scaled.map((row, i) => row.map((v, j) => v + (i === j ? 1 : 0)))));
  const inverse = times(transposed(half), half);
  const dense = w.map((row) => row.map((v, j) => f32(v) * norms[j]));
  const target = times(dense, scaled);
  let solved = dense;
  let dual = dense.map((row) => row.map(() => 0));
  for (let step = 0; step < ADMM_STEPS; step++) {
    const kept = solved.map((row, i) => row.map((v, j) => (mask[i][j] ? v + dual[i][j] : 0)));
    dual = dual.map((row, i) => row.map((v, j) => v + solved[i][j] - kept[i][j]));
    solved = times(
      target.map((row, i) => row.map((v, j) => v + kept[i][j] - dual[i][j])),
      inverse,
    );
  }
  return solved.map((row, i) => row.map((v, j) => (mask[i][j] ? (v + dual[i][j]) / norms[j] : 0)));
}

/** Choose and correct, column by column (Frantar and Alistarh, arXiv 2301.00774), as wanda_core/method/sparsegpt.py
 * does with fewer columns than its block holds. Gives `{weight, mask}`. */
function sparsegpt(w, x, { pattern, sparsity }) {
  const gram = gramOf(x);
  const dead = gram.map((row, j) => row[j] === 0);
  gram.forEach((row, j) => (row[j] = dead[j] ? 1 : row[j]));
  const damping = (SPARSEGPT_DAMPING * total(gram.map((row, j) => row[j]))) / gram.length;
  gram.forEach((row, j) => (row[j] += damping));
  const flipped = (a) => [...a].reverse().map((row) => [...row].reverse());
  const upper = flipped(inverseOfLower(cholesky(flipped(gram)))); // U with U^T U the inverse of the Gram matrix
  const weight = w.map((row) => row.map((v, j) => (dead[j] ? 0 : f32(v))));
  const scores = () => weight.map((row) => row.map((v, j) => (v / upper[j][j]) ** 2));
  const nm = parsePattern(pattern);
  const mask = nm ? w.map((row) => row.map(() => true)) : maskOf(scores(), { pattern, sparsity, group: "layer" });
  for (let j = 0; j < upper.length; j++) {
    if (nm && j % nm[1] === 0) {
      scores().forEach((row, i) => mask[i].splice(j, nm[1], ...keepHighest(row.slice(j, j + nm[1]), nm[1] - nm[0])));
    }
    weight.forEach((row, i) => {
      if (mask[i][j]) return;
      const error = row[j] / upper[j][j];
      for (let k = j; k < row.length; k++) row[k] -= error * upper[j][k];
      row[j] = 0;
    });
  }
  return { weight, mask };
}

if (typeof module === "object") {
  module.exports = { readNumber, normsOf, scoresOf, maskOf, pruned, outputError, admm, sparsegpt };
}
