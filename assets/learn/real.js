// A cut-out of a real layer, recorded: its weights and norms, and what either method keeps. Every weight is a link.

const LAB = "./"; // the Lab's page, seen from Learn's

/** Where the Lab opens a layer at a weight. */
function insideLink(layer, row, column) {
  return `${LAB}?${new URLSearchParams({ view: "inside", layer, weight: `${row},${column}` })}`;
}

function buildReal({ layer, protocol }, onOpen) {
  const cells = (values, draw) => layer.columns.map((column, j) => draw(values[j], j, column));
  const line = (label, content, extra = "") =>
    h(
      "div",
      { class: `line ${extra}` },
      h("span", { class: "side" }, label),
      ...content,
      h("span", { class: "end" }),
    );
  const loudest = Math.max(...layer.norms);
  const largest = Math.max(...layer.weights.flat().map(Math.abs));
  const scores = layer.weights.map((row) => row.map((v, j) => Math.abs(v) * layer.norms[j]));
  const highest = Math.max(...scores.flat());
  const masked = (name, values, top, mask) =>
    h(
      "section",
      { class: "block", role: "group", "aria-label": name },
      h("div", { class: "caption" }, h("h2", {}, name)),
      ...values.map((row, i) =>
        line(
          `out ${layer.rows[i]}`,
          cells(row, (v, j, column) =>
            h(
              "a",
              {
                class: `cell score ${mask[i][j] ? "" : "pruned"}`,
                href: insideLink(layer.name, layer.rows[i], column),
                target: "_blank",
                rel: "noopener",
                click: onOpen,
                "data-row": i,
                "data-column": j,
                style: `--a:${mask[i][j] ? (v / top).toFixed(3) : 0}`,
                "aria-label": `Open out ${layer.rows[i]}, in ${column} in the Lab: ${short(v)}, ${mask[i][j] ? "kept" : "pruned"}`,
              },
              short(v),
            ),
          ),
        ),
      ),
    );
  return h(
    "section",
    { class: "part real", "data-part": "real" },
    line(
      "",
      layer.columns.map((column, j) => h("span", { class: "head", "data-column": j }, `in ${column}`)),
      "heads",
    ),
    line(
      h("b", { class: "name norm-name" }, "‖X‖"),
      cells(layer.norms, (v, j) =>
        h(
          "span",
          { class: "norm", "data-column": j },
          h("i", { class: "bar", style: `height:${(100 * v) / loudest}%` }),
          h("span", { class: "value" }, short(v)),
        ),
      ),
      "norms",
    ),
    ...layer.weights.map((row, i) =>
      line(
        i ? `out ${layer.rows[i]}` : h("span", {}, h("b", { class: "name w" }, "W "), `out ${layer.rows[0]}`),
        cells(row, (v, j) =>
          h(
            "span",
            { class: "cell w", "data-row": i, "data-column": j, style: `--a:${(Math.abs(v) / largest).toFixed(3)}` },
            short(v),
          ),
        ),
      ),
    ),
    masked(
      "Magnitude: |W|",
      layer.weights.map((row) => row.map(Math.abs)),
      largest,
      layer.magnitude,
    ),
    masked("Wanda: |W| × ‖X‖", scores, highest, layer.wanda),
    source({ protocol }),
  );
}
