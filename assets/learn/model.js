// From what the visitor set to everything that is drawn.

/** Everything that is drawn, from what the visitor set. */
function compute(state, step) {
  const { w, x } = state.values;
  const all = step.many ? manyTokens(x) : x;
  const used = step.many ? state.tokens : x.length;
  const settings = { sparsity: state.sparsity, group: state.group, pattern: state.pattern };
  const normsAt = (n) => normsOf(all.slice(0, n));
  const norms = normsAt(used);
  const decide = (method, how) => {
    const scores = scoresOf(method, w, norms);
    const mask = maskOf(scores, how);
    return { scores, mask, error: outputError(w, pruned(w, mask), all) };
  };
  const caption = (method) => ({ text: `${METHOD[method].name}: score `, code: METHOD[method].formula });
  const magnitude = { ...decide("magnitude", settings), title: caption("magnitude") };
  const wanda = { ...decide("wanda", settings), title: caption("wanda") };
  const model = { w, norms, used, blocks: { magnitude, wanda } };
  model.lines = { magnitude: linesOf(magnitude, settings), wanda: linesOf(wanda, settings) };
  model.anywhere =
    state.pattern === "unstructured" ? wanda : decide("wanda", { ...settings, pattern: "unstructured" });
  if (step.show.includes("hand")) {
    const kept = w.map((row, i) => row.map((_, j) => !state.hand.has(`${i},${j}`)));
    model.blocks.hand = {
      scores: w,
      mask: kept,
      error: outputError(w, pruned(w, kept), all),
      weights: true,
      title: { text: "By hand: click a weight to prune it", code: "" },
    };
  }
  if (step.show.includes("guess")) {
    const chosen = w.map((row, i) => row.map((_, j) => !(i === 1 && state.guess.has(j))));
    const text = w.map((row, i) =>
      row.map((_, j) => short(state.revealed ? wanda.scores[i][j] : w[i][j])),
    );
    const marks = state.revealed ? chosen.map((row, i) => row.map((kept, j) => kept !== wanda.mask[i][j])) : null;
    const scores = state.revealed ? wanda.scores : w.map((row) => row.map(() => 0)); // a shade would give them away
    model.blocks.guess = {
      scores,
      mask: chosen,
      text,
      marks,
      dim: [true, false, true],
      title: {
        text: state.revealed ? "Your prediction (outlined: not as Wanda)" : "Your prediction: click a weight to prune it",
        code: "",
      },
    };
  }
  if (step.many) {
    const masks = Array.from({ length: MANY }, (_, n) => maskOf(scoresOf("wanda", w, normsAt(n + 1)), settings));
    model.changes = masks.map((mask) => sides(mask, masks[MANY - 1]));
    wanda.marks = wanda.mask.map((row, i) => row.map((kept, j) => kept !== masks[MANY - 1][i][j]));
  }
  if (step.show.includes("updated")) {
    const target =
      state.update === "admm" ? { weight: admm(w, all, wanda.mask), mask: wanda.mask } : sparsegpt(w, all, settings);
    const part = state.move / 100;
    const moved = w.map((row, i) =>
      row.map((v, j) => (target.mask[i][j] ? v + part * (target.weight[i][j] - v) : 0)),
    );
    model.blocks.updated = {
      scores: moved,
      mask: target.mask,
      error: outputError(w, moved, all),
      weights: true,
      title: {
        text: state.update === "admm" ? "Wanda + ADMM: new weights" : "SparseGPT: its mask, new weights",
        code: "",
      },
    };
    Object.assign(wanda, { scores: w, weights: true }); // in this step the two blocks compare weights
    wanda.title = { text: "Wanda: weights as they were", code: "" };
    model.moves = { before: w, after: moved };
  }
  return model;
}

/** What `buildLines` draws of one method. */
function linesOf({ scores, mask }, settings) {
  const merged = settings.pattern === "unstructured" && settings.group === "layer";
  const competing = (i) => (merged ? scores.flat() : scores[i]);
  const size = competing(0).length;
  const count = pruneCount(size, settings.sparsity);
  const threshold = (i) => {
    const sorted = [...competing(i)].sort((a, b) => a - b);
    if (count === 0) return { place: 0, highest: null };
    return {
      place: count === size ? sorted[size - 1] : (sorted[count - 1] + sorted[count]) / 2,
      highest: sorted[count - 1],
    };
  };
  const scored = settings.pattern === "unstructured" && settings.group !== "input";
  return {
    scores,
    mask,
    merged,
    competing,
    size,
    count,
    thresholds: scored ? scores.map((_, i) => threshold(i)) : null,
    scales: scores.map((_, i) => Math.max(...competing(i))),
  };
}

/** The arithmetic of one weight, in words and colours. */
function formulaOf({ row, column }, state, step, model) {
  const colour = (name, text) => h("b", { class: `name ${name}` }, text);
  const tokens = state.values.x.map((token) => token[column]);
  const inside = tokens.map((v) => `${v < 0 ? `(${plain(v)})` : plain(v)}²`).join(" + ");
  const norm = short(model.norms[column]);
  if (row === null)
    return [
      `in ${column}: `,
      colour("norm-name", "‖X‖"),
      ` = √(${inside}${model.used > tokens.length ? " + …" : ""}) = ${norm}`,
    ];
  const value = state.values.w[row][column];
  const name = `out ${row}, in ${column}: `;
  if (step.show.includes("hand"))
    return [
      name,
      colour("w", plain(value)),
      ` × tokens (${tokens.map(plain).join(", ")}) = (${tokens.map((v) => plain(v * value)).join(", ")}): its part of out ${row}`,
    ];
  if (model.moves) {
    const error = model.blocks.updated.error.rows[row];
    return [
      name,
      colour("w", plain(value)),
      " becomes ",
      colour("w", short(model.moves.after[row][column])),
      `; the error of out ${row} is ${percent(error)}`,
    ];
  }
  const { wanda, magnitude } = model.blocks;
  const score = scoresOf("wanda", state.values.w, model.norms)[row][column];
  const product = [name, colour("w", `|${plain(value)}|`), " × ", colour("norm-name", norm)];
  if (step.show.includes("guess") && !state.revealed) return [...product, " = ?"];
  const said = (mask) => colour(mask[row][column] ? "kept" : "cut", mask[row][column] ? "kept" : "pruned");
  return [
    ...product,
    " = ",
    colour("score-name", short(score)),
    ": Wanda ",
    said(wanda.mask),
    ". Magnitude, by ",
    colour("w", plain(Math.abs(value))),
    ": ",
    said(magnitude.mask),
    ".",
  ];
}
