// The ten steps. Each says what it shows and lights, what the visitor is to do, when that is done, and what it showed.
// `body`, `task` and `after` are written into the page as HTML: they hold nothing that a visitor typed.

const ALL = ["x", "norms", "w", "magnitude", "wanda", "lines"];
const FREE = ["example", "share", "group", "pattern"];
const bold = (text) => `<b>${text}</b>`;
const sides = (mask, other) => mask.flat().filter((kept, i) => kept !== other.flat()[i]).length;
const left = (mask, row) => mask[row].filter(Boolean).length;

const STEPS = [
  {
    title: "One weight at work",
    body: `<p>A language model is made of layers, and a layer is mostly a matrix of <dfn>weights</dfn> W: numbers that inputs are multiplied by. Each row of W makes one output: input × weight, added up.
      <dfn>Pruning</dfn> sets weights to zero, so that they need not be stored or multiplied.</p>
      <p>Here 3 <dfn>tokens</dfn> (pieces of text, as numbers: X) enter a layer with 8 inputs and 3 outputs.</p>`,
    task: "In <b>By hand</b>, row out 0: click the largest weight, 0.9, to prune it. Click again to put it back. Then prune only the small −0.2. Which one changes the output more?",
    example: "start",
    show: ["x", "w", "hand"],
    lit: ["hand"],
    controls: ["example"],
    done: ({ tried }) => surprise(tried) !== null,
    after({ tried }, model) {
      const found = surprise(tried);
      if (found)
        return `Without ${bold(plain(found[0].value))} the error of that output is ${bold(percent(found[0].error))}; without the smaller ${bold(plain(found[1].value))} it is ${bold(percent(found[1].error))}. Size alone does not say how much a weight does.`;
      const pruned = model.blocks.hand.mask.flat().filter((kept) => !kept).length;
      return pruned
        ? `${pruned} pruned. The bar on the right is the <dfn>error</dfn>: how far the output is now from the full one.`
        : "Nothing is pruned yet: no error.";
    },
  },
  {
    title: "Loud and quiet inputs",
    body: `<p>−0.2 reads in 1, whose numbers are large: a loud input. 0.9 reads in 0, a quiet one. The <dfn>norm</dfn> ‖X‖ says how loud: square an input's numbers, add them up over the tokens, take the root.</p>
      <p>A <dfn>score</dfn> says how important a weight is. Magnitude's is |W|; <b>Wanda's is |W| × ‖X‖</b>. Of each row the lowest are pruned, here 4 of 8: crossed out.</p>`,
    task: "Wanda prunes 0.9 in out 0, because in 0 is quiet. Make in 0 louder until Wanda keeps it: click a number in its column of X, then press ↑ a few times (or type).",
    example: "start",
    show: ALL,
    lit: ["x", "norms"],
    controls: FREE,
    point: { row: 0, column: 0 },
    done: (state, model) => model.blocks.wanda.mask[0][0],
    after: (state, model) =>
      model.blocks.wanda.mask[0][0]
        ? `‖X‖ of in 0 is now ${bold(short(model.norms[0]))}: ${replaced(model.blocks.wanda, model.w, 0, 0)}`
        : `‖X‖ of in 0 is ${bold(short(model.norms[0]))}, so the score is ${short(model.blocks.wanda.scores[0][0])}. To be kept it must pass ${short(lowestKept(model.blocks.wanda, 0))}: watch its dot on the number line.`,
  },
  {
    title: "Predict which four are pruned",
    body: `<p>New numbers in out 1. Wanda will prune the four weights with the lowest |W| × ‖X‖. No exact sums: is a weight large or small, is its input loud or quiet?</p>`,
    task: "Under <b>Your prediction</b>, click the four weights of out 1 that you think Wanda prunes. Then press Reveal.",
    example: "fresh",
    show: ["norms", "w", "guess"],
    revealed: ["norms", "w", "guess", "magnitude", "wanda"],
    lit: ["guess", "reveal"],
    controls: ["reveal"],
    point: { row: 1, column: 0 },
    done: ({ revealed }) => revealed,
    after({ revealed, guess }, model) {
      if (!revealed) return `${guess.size} of 4 chosen.`;
      const mask = model.blocks.wanda.mask[1];
      const right = [...guess].filter((j) => !mask[j]).length;
      const missed = mask.flatMap((kept, j) =>
        !kept && !guess.has(j)
          ? [
              `${plain(model.w[1][j])} × ${short(model.norms[j])} = ${short(model.blocks.wanda.scores[1][j])} (in ${j})`,
            ]
          : [],
      );
      return `${bold(`${right} of 4 right.`)} ${missed.length ? `You missed ${missed.join(", ")}. ` : ""}Magnitude prunes others: it does not see the norms.`;
    },
  },
  {
    title: "Why a row",
    body: `<p>Weights that compete with one another are a <dfn>comparison group</dfn>. Wanda's is the output row: every output loses the same share of its weights. Why not let the whole layer compete?</p>`,
    task: "Set <b>Compete within</b> to “whole layer”: the three number lines merge into one. Count what is left of out 2. Then set it back to “each row”.",
    example: "start",
    show: ["norms", "w", "wanda", "lines"],
    lit: ["lines", "group"],
    controls: FREE,
    done: ({ seen, group }) => seen.has("layer") && group === "output",
    after: (state, model) =>
      `Wanda keeps ${bold(`${left(model.blocks.wanda.mask, 2)} of 8`)} weights of out 2; the error of out 2 is ${bold(percent(model.blocks.wanda.error.rows[2]))}, of all outputs together ${percent(model.blocks.wanda.error.all)}.${state.seen.has("layer") ? " When the layer competes, the row of lowest scores loses most, and the next layer reads that output, too." : ""}`,
    chart(figures) {
      const [row, layer] = ["output", "layer"].map((group) =>
        find(figures, { method: "wanda", sparsity: 0.5, group }),
      );
      const sure = overlap(row, layer)
        ? "Wanda's intervals overlap: on this little text a hint, no proof."
        : "The intervals do not overlap.";
      return chart(figures, `Half pruned. Perplexity: how unsure a model is of the next token; lower is better. ${sure}`, [
        ["Not pruned", { method: "dense" }],
        ["Wanda, each row", { method: "wanda", sparsity: 0.5 }],
        ["Wanda, whole layer", { method: "wanda", sparsity: 0.5, group: "layer" }],
        ["Magnitude, each row", { method: "magnitude", sparsity: 0.5, group: "output" }],
        ["Magnitude, whole layer", { method: "magnitude", sparsity: 0.5 }],
      ]);
    },
  },
  {
    title: "What 2:4 costs",
    body: `<p>Some hardware can skip zeros only in a fixed <dfn>pattern</dfn>: of every 4 neighbours in a row exactly 2 are kept, 2:4. In 0 to in 3 are such a four, in 4 to in 7 the other. That is half of the weights as before, but with less choice.</p>`,
    task: "Set <b>Pattern</b> to 2:4. One weight of out 0 was kept before and must now be pruned, because two of its three neighbours score higher. Click it in Wanda's scores.",
    example: "start",
    show: ALL,
    lit: ["wanda", "pattern"],
    controls: FREE,
    done: ({ found }) => found,
    after(state, model) {
      const error = `Wanda's error: ${bold(percent(model.anywhere.error.all))} with zeros anywhere in the row, ${bold(percent(model.blocks.wanda.error.all))} ${state.pattern === "unstructured" ? "(the same: no pattern yet)" : `with ${state.pattern}`}.`;
      return state.found
        ? `Right: it is not among the best two of its four. ${error}`
        : state.pattern === "unstructured"
          ? error
          : `${sides(model.blocks.wanda.mask, model.anywhere.mask)} weights are decided differently than before. ${error}`;
    },
    chart: (figures) =>
      chart(figures, "Half pruned in all three ways. Lower is better.", [
        ["Not pruned", { method: "dense" }],
        ["Wanda, anywhere", { method: "wanda", sparsity: 0.5 }],
        ["Wanda 4:8", { method: "wanda", sparsity: 0.5, pattern: "4:8" }],
        ["Wanda 2:4", { method: "wanda", sparsity: 0.5, pattern: "2:4" }],
      ]),
  },
  {
    title: "How much text is enough",
    body: `<p>The norms come from running some text through the model: the <dfn>calibration</dfn> text. Here it is 32 tokens: three that you see, and 29 made up, about as loud. Fewer tokens give rougher norms. The weights are new, and their scores lie close together.</p>`,
    task: "Drag <b>Tokens</b> down to 1, then slowly up again, past 16. Where does the choice of weights stop changing much?",
    example: "close",
    many: true,
    tokens: MANY,
    show: ["x", "norms", "w", "wanda", "changes"],
    lit: ["norms", "tokens"],
    controls: ["tokens"],
    done: ({ seen, tokens }) => seen.has("tokens 1") && tokens >= 16,
    after: ({ tokens }, model) =>
      `With ${bold(`${tokens} token${tokens > 1 ? "s" : ""}`)}, ${bold(`${model.changes[tokens - 1]} of 24`)} weights are decided differently than with all ${MANY}${model.changes[tokens - 1] ? ": they are outlined." : "."} Only the order of scores counts, and that settles early.`,
    chart(figures) {
      const [one, most] = [1, 32].map((samples) => find(figures, { method: "wanda", sparsity: 0.5, samples }));
      const found = overlap(one, most)
        ? "From 1 to 32 all intervals overlap: this test does not see the difference."
        : "32 windows are better than 1.";
      return chart(
        figures,
        `Wanda, 50%, by calibration windows of 512 tokens. ${found}`,
        [1, 2, 4, 8, 16, 32].map((samples) => [
          `${samples} window${samples > 1 ? "s" : ""}`,
          { method: "wanda", sparsity: 0.5, samples },
        ]),
      );
    },
  },
  {
    title: "How far can you go?",
    body: `<p><dfn>Perplexity</dfn> measures a language model: between how many equally likely next tokens does it waver, on average? Lower is better. The curve is of a real model of 135 million weights.</p>`,
    task: "Guess first: how much can Wanda prune before perplexity is twice that of the whole (<dfn>dense</dfn>) model? Move the slider, press Reveal; then move on along the curve.",
    example: "start",
    show: ["curve"],
    lit: ["far"],
    controls: ["far", "reveal"],
    done: ({ revealed }) => revealed,
    after({ revealed, guessed }, model) {
      if (!revealed) return "Only measured amounts can be chosen.";
      const { points } = model.curve;
      const over = points.findIndex((point) => point.perplexity > 2 * points[0].perplexity);
      const further = points
        .slice(over + 1)
        .map((point) => `at ${Math.round(100 * point.sparsity)}% ${short(point.perplexity / points[0].perplexity)} ×`);
      return `You said ${bold(`${Math.round(100 * points[guessed].sparsity)}%`)}. Measured: still below twice dense at ${bold(`${Math.round(100 * points[over - 1].sparsity)}%`)}, above it at ${bold(`${Math.round(100 * points[over].sparsity)}%`)}. Further on, ${further.join(", ")} dense: the model breaks down.`;
    },
  },
  {
    title: "The kept weights move",
    body: `<p>Wanda leaves kept weights as they are. An <dfn>update</dfn> changes them to make up for the pruned ones. It can, because inputs rise and fall together: here in 0, 2, 4 and 6, and the other four. <b>ADMM</b> changes the weights that Wanda keeps; <b>SparseGPT</b> itself chooses, and corrects column by column.</p>`,
    task: "Drag <b>Move</b> from 0 to 100%: the dots travel to where the update puts them, and the error falls.",
    example: "close",
    many: true,
    tokens: MANY,
    show: ["w", "wanda", "updated", "moves"],
    lit: ["updated", "moves", "move"],
    controls: ["update", "move"],
    done: ({ move }) => move === 100,
    after: ({ update, move }, model) =>
      `Output error over ${MANY} tokens: Wanda alone ${bold(percent(model.blocks.wanda.error.all))}, ${move}% of the way to ${update === "admm" ? "Wanda + ADMM" : "SparseGPT"} ${bold(percent(model.blocks.updated.error.all))}.`,
    chart: (figures) =>
      chart(
        figures,
        "At 50% and 70%. Lower is better.",
        [0.5, 0.7].flatMap((sparsity) => [
          [`Wanda ${100 * sparsity}%`, { method: "wanda", sparsity }],
          [`SparseGPT ${100 * sparsity}%`, { method: "sparsegpt", sparsity }],
          [`Wanda + ADMM ${100 * sparsity}%`, { method: "wanda+admm", sparsity }],
        ]),
      ),
  },
  {
    title: "A real layer",
    body: ({
      layer,
    }) => `<p>These are ${layer.rows.length * layer.columns.length} of the ${(layer.shape[0] * layer.shape[1]).toLocaleString("en")} weights of <code>${layer.name}</code> of ${layer.source}: ${layer.rows.length} outputs, ${layer.columns.length} neighbouring inputs.</p>
      <p>in ${layer.loudest} is ${Math.round(layer.loudness)} times as loud as the median of its ${layer.shape[1]} inputs. Wanda keeps even small weights there; Magnitude does not see it. Half of the layer is pruned: Magnitude compares all its weights, Wanda those of a row, all ${layer.shape[1]}.</p>`,
    task: "Click any weight: a new tab opens it in the Lab, under <b>Inside</b>.",
    show: ["real"],
    lit: ["real"],
    controls: [],
    done: ({ opened }) => opened,
    after: ({ opened }) => (opened ? "The Lab shows that weight among its whole row." : ""),
  },
  {
    title: "The same questions, your model",
    body: `<p>You have met the whole method: |W| × ‖X‖, lowest of each row pruned. Now ask the Lab, which does the same with a real model, on this machine:</p>
      <ol><li>Does Wanda beat Magnitude there, by more than the interval?</li><li>How far, before perplexity is twice dense?</li><li>What does 2:4 cost?</li><li>How much calibration text is enough?</li><li>Which layers suffer most?</li></ol>`,
    task: "Open the Lab, choose a model under <b>Model</b>, and press Run.",
    example: "start",
    show: ALL,
    lit: ["lab"],
    controls: [...FREE, "lab"],
    done: ({ opened }) => opened,
    after: () => "And the numbers here are yours to play with, with all examples and settings.",
  },
];

/** A step's own address. In full, as gradio's pages have a base address that is not their own. */
function linkTo(index) {
  return `${location.pathname}${location.search}#step=${index + 1}`;
}

/** The lowest score of a row that is kept. */
function lowestKept({ scores, mask }, row) {
  return Math.min(...scores[row].filter((_, j) => mask[row][j]));
}

/** What a weight that is kept has overtaken: the highest score of its row that is pruned. With as many digits as tell
 * the two apart, since at the moment of overtaking they differ little. */
function replaced({ scores, mask }, w, row, column) {
  const other = scores[row].reduce(
    (best, score, j) => (!mask[row][j] && (best < 0 || score > scores[row][best]) ? j : best),
    -1,
  );
  const kept = `${plain(w[row][column])} is kept`;
  if (other < 0) return `${kept}.`;
  return `${kept}. Its score ${plain(scores[row][column])} is above ${plain(scores[row][other])}, that of ${plain(w[row][other])} (in ${other}), which is pruned.`;
}

/** A larger weight whose loss alone did less than that of a smaller one in the same row, and that one; or null. */
function surprise(tried) {
  for (const larger of tried.values()) {
    for (const smaller of tried.values()) {
      if (
        larger.row === smaller.row &&
        Math.abs(larger.value) > Math.abs(smaller.value) &&
        larger.error < smaller.error
      )
        return [larger, smaller];
    }
  }
  return null;
}
