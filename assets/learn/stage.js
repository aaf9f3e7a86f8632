// The stage: tokens, norms, weights, scores and masks, column under column, and each row as a number line. It draws what
// it is given (`draw`) and tells the lesson what the visitor did (`on`); it decides nothing.

/** An element: `h("b", { class: "x" }, "text", child)`. A property that is a function listens to that event. */
function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value != null) element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

/** Write where something changes only: what is touched is laid out again, which takes longer than all the arithmetic. */
function write(element, { text, style = {}, ...attributes }) {
  if (text !== undefined && element.textContent !== String(text)) element.textContent = text;
  for (const [name, value] of Object.entries(style))
    if (element.style.getPropertyValue(name) !== String(value)) element.style.setProperty(name, value);
  for (const [name, value] of Object.entries(attributes))
    if (element.getAttribute(name) !== String(value)) element.setAttribute(name, value);
}

/** A number in at most six characters. */
function short(value) {
  const size = Math.abs(value);
  const minus = value < 0 ? "−" : "";
  if (size === 0) return "0";
  if (size >= 99995 || size < 0.005) return minus + size.toExponential(0).replace("e+", "e").replace("e-", "e−");
  return minus + size.toFixed(size >= 999.5 ? 0 : size >= 99.95 ? 0 : size >= 9.995 ? 1 : 2);
}

/** A number as it was typed, to four digits. */
const plain = (value) => String(Number(value.toPrecision(4))).replace("-", "−");

const percent = (share) =>
  share >= 9.995 ? `${short(share)} ×` : `${(100 * share).toFixed(share >= 0.9995 ? 0 : 1)}%`;
const METHOD = {
  magnitude: { name: "Magnitude", formula: "|W|" },
  wanda: { name: "Wanda", formula: "|W| × ‖X‖" },
};

function buildStage(rows, columns, tokens, on) {
  const range = (n) => Array.from({ length: n }, (_, i) => i);
  const line = (label, cells, end = "", extra = "") =>
    h(
      "div",
      { class: `line ${extra}` },
      h("span", { class: "side" }, label),
      ...cells,
      h("span", { class: "end" }, end),
    );

  const field = (kind, row, column, name) =>
    h("input", {
      class: `cell ${kind}`,
      type: "text",
      inputmode: "decimal",
      autocomplete: "off",
      role: "spinbutton",
      "aria-label": name,
      "aria-describedby": "lesson-formula",
      "data-kind": kind,
      "data-row": row,
      "data-column": column,
      tabindex: row || column ? -1 : 0,
    });
  const button = (kind, row, column) =>
    h("button", {
      class: "cell score",
      type: "button",
      "data-kind": kind,
      "data-row": row,
      "data-column": column,
      tabindex: row || column ? -1 : 0,
    });

  const heads = range(columns).map((j) => h("span", { class: "head", "data-column": j }, `in ${j}`));
  const x = range(tokens).map((t) => range(columns).map((j) => field("x", t, j, `X: token ${t}, in ${j}`)));
  const norm = range(columns).map((j) =>
    h("span", { class: "norm", "data-column": j }, h("i", { class: "bar" }), h("span", { class: "value" })),
  );
  const w = range(rows).map((i) => range(columns).map((j) => field("w", i, j, `W: out ${i}, in ${j}`)));
  const more = h("span", { class: "more" });

  const blocks = {};
  for (const kind of ["hand", "guess", "magnitude", "wanda", "updated"]) {
    const cells = range(rows).map((i) => range(columns).map((j) => button(kind, i, j)));
    const ends = range(rows).map(() => h("span", { class: "error" }, h("i", {}), h("span", {})));
    const title = h("h2", { id: `lesson-${kind}` });
    const error = h("output", { class: "all" });
    const lines = cells.map((row, i) => line(`out ${i}`, row, ends[i]));
    const part = h(
      "section",
      { class: `part block ${kind}`, "data-part": kind, role: "group", "aria-labelledby": title.id },
      h("div", { class: "caption" }, title, error),
      ...lines,
    );
    blocks[kind] = { part, cells, ends, title, error, lines };
  }
  const axes = {};
  for (const kind of ["magnitude", "wanda"]) axes[kind] = buildLines(kind, rows, columns, on);
  const formula = h("p", { class: "formula", id: "lesson-formula" });
  const parts = {
    x: h(
      "section",
      { class: "part", "data-part": "x", role: "group", "aria-label": "X: tokens" },
      line(h("b", { class: "name x" }, "X"), heads, more, "heads"),
      ...x.map((row, t) => line(`token ${t}`, row)),
    ),
    norms: h(
      "section",
      { class: "part", "data-part": "norms", role: "group", "aria-label": "Norms of the inputs" },
      line(h("b", { class: "name norm-name" }, "‖X‖"), norm, "", "norms"),
    ),
    w: h(
      "section",
      { class: "part", "data-part": "w", role: "group", "aria-label": "W: weights" },
      ...w.map((row, i) => line(i ? `out ${i}` : h("span", {}, h("b", { class: "name w" }, "W "), "out 0"), row)),
    ),
    ...Object.fromEntries(Object.entries(blocks).map(([kind, block]) => [kind, block.part])),
    lines: h("section", { class: "part axes", "data-part": "lines" }, axes.magnitude.element, axes.wanda.element),
  };
  const moves = buildMoves(rows, columns);
  parts.moves = moves.element;
  const element = h("div", { class: "stage" }, ...Object.values(parts));

  // One tab stop for each table of cells; arrows go from cell to cell.
  element.addEventListener("focusin", ({ target }) => {
    if (!target.matches(".cell")) return;
    for (const cell of target.closest(".part").querySelectorAll(".cell")) cell.tabIndex = cell === target ? 0 : -1;
    if (target.matches("input")) target.select();
  });
  const place = (target) => {
    const cell = target.closest?.("[data-column]");
    return (
      cell && {
        row: cell.dataset.row === undefined ? null : Number(cell.dataset.row),
        column: Number(cell.dataset.column),
        kind: cell.dataset.kind,
      }
    );
  };
  for (const event of ["pointerover", "focusin"]) {
    element.addEventListener(event, ({ target }) => place(target) && on.point(place(target)));
  }
  element.addEventListener("click", ({ target }) => target.closest("button.cell") && on.press(place(target)));
  element.addEventListener(
    "input",
    ({ target }) => target.matches("input.cell") && on.type(place(target), target.value),
  );
  const nudge = (target, up, large) => on.nudge(place(target), (up ? 1 : -1) * (large ? 1 : 0.1));
  element.addEventListener(
    "wheel",
    (event) => {
      if (event.target !== document.activeElement || !event.target.matches("input.cell")) return;
      event.preventDefault();
      nudge(event.target, event.deltaY < 0, event.shiftKey);
    },
    { passive: false },
  );
  element.addEventListener("keydown", (event) => {
    const { target, key } = event;
    if (!target.matches(".cell") || event.altKey || event.ctrlKey || event.metaKey) return;
    const typing = target.matches("input");
    const whole = !typing || (target.selectionStart === 0 && target.selectionEnd === target.value.length);
    const steps = {
      ArrowLeft: [0, -1],
      ArrowRight: [0, 1],
      ...(typing ? { Enter: [event.shiftKey ? -1 : 1, 0] } : { ArrowUp: [-1, 0], ArrowDown: [1, 0] }),
    };
    if (typing && (key === "ArrowUp" || key === "ArrowDown")) {
      event.preventDefault();
      nudge(target, key === "ArrowUp", event.shiftKey);
    } else if (steps[key] && (whole || key === "Enter")) {
      event.preventDefault();
      const { row, column, kind } = place(target);
      const next = target
        .closest(".part")
        .querySelector(
          `.cell[data-kind="${kind}"][data-row="${row + steps[key][0]}"][data-column="${column + steps[key][1]}"]`,
        );
      next?.focus();
    } else if (typing && !whole && key.startsWith("Arrow")) {
      event.stopPropagation(); // the caret moves; the lesson does not go to another step
    }
  });

  /** Write values into the fields; not into the one that is being typed into, unless `all`. */
  function fill(values, all) {
    for (const [kind, fields] of [
      ["x", x],
      ["w", w],
    ]) {
      fields.forEach((row, i) =>
        row.forEach((input, j) => {
          const shown = String(values[kind][i][j]).replace("-", "−");
          if ((all || input !== document.activeElement) && input.value !== shown) input.value = shown;
          write(input, { "aria-valuenow": values[kind][i][j], "aria-invalid": false });
        }),
      );
    }
  }

  function drawBlock(kind, { scores, mask, error, title, dim, marks, text, weights }) {
    const block = blocks[kind];
    const highest = Math.max(...scores.flat().map(Math.abs), Number.MIN_VALUE);
    if (block.said !== title.text + title.code) {
      block.said = title.text + title.code;
      block.title.replaceChildren(title.text, title.code ? h("code", {}, title.code) : "");
    }
    write(block.error, { text: error ? `output error ${percent(error.all)}` : "" });
    block.part.classList.toggle("of-weights", Boolean(weights));
    block.cells.forEach((row, i) => {
      block.lines[i].hidden = Boolean(dim?.[i]);
      row.forEach((cell, j) => {
        const kept = mask ? mask[i][j] : true;
        const shown = text ? text[i][j] : short(scores[i][j]);
        const deep = kept && mask ? (Math.abs(scores[i][j]) / highest).toFixed(3) : 0;
        const look = `${shown} ${deep} ${kept} ${Boolean(marks?.[i][j])}`;
        if (cell.look === look) return; // most cells stay as they are, and touching them takes time
        cell.look = look;
        write(cell, {
          text: shown,
          style: { "--a": deep },
          "aria-label": `out ${i}, in ${j}: ${shown}, ${kept ? "kept" : "pruned"}`,
          "aria-pressed": !kept,
        });
        cell.classList.toggle("pruned", !kept);
        cell.classList.toggle("mark", Boolean(marks?.[i][j]));
      });
      block.ends[i].hidden = !error;
      if (error) {
        write(block.ends[i].firstChild, { style: { width: `${(Math.min(1, error.rows[i]) * 100).toFixed(1)}%` } });
        write(block.ends[i].lastChild, { text: percent(error.rows[i]) });
      }
    });
  }

  /** Draw a model: see `compute` in lesson.js. */
  function draw(model) {
    const loudest = Math.max(...model.norms, Number.MIN_VALUE);
    const largest = Math.max(...model.w.flat().map(Math.abs), Number.MIN_VALUE);
    norm.forEach((cell, j) => {
      write(cell.firstChild, { style: { height: `${((100 * model.norms[j]) / loudest).toFixed(1)}%` } });
      write(cell.lastChild, { text: short(model.norms[j]) });
    });
    w.forEach((row, i) =>
      row.forEach((input, j) => write(input, { style: { "--a": (Math.abs(model.w[i][j]) / largest).toFixed(3) } })),
    );
    x.forEach((row, t) => row.forEach((input) => input.classList.toggle("unused", t >= model.used)));
    write(more, { text: model.used > tokens ? `+ ${model.used - tokens} more` : "" });
    for (const [kind, block] of Object.entries(model.blocks)) if (!blocks[kind].part.hidden) drawBlock(kind, block);
    for (const [kind, axis] of Object.entries(axes))
      if (!parts.lines.hidden && !axis.element.hidden) axis.draw(model.lines[kind]);
    if (model.moves) moves.draw(model.moves);
  }

  /** Show only the parts of a step, and light those that it speaks of. */
  function show(names, lit) {
    for (const [name, part] of Object.entries(parts)) {
      part.hidden = !names.includes(name);
      part.classList.toggle("lit", lit.includes(name));
    }
    axes.magnitude.element.hidden = !names.includes("magnitude");
  }

  let pointed = [];
  let pointedAt = "";
  /** Mark everything that belongs to one weight: its input's tokens and norm, its scores, its dots. */
  function point({ row, column }) {
    if (pointedAt === `${row} ${column}`) return;
    pointedAt = `${row} ${column}`;
    for (const item of pointed) item.classList.remove("of-column", "of-weight");
    const found = (selector, name) =>
      [...element.querySelectorAll(selector)].map((item) => (item.classList.add(name), item));
    pointed = [
      ...found(`[data-column="${column}"]`, "of-column"),
      ...(row === null ? [] : found(`[data-row="${row}"][data-column="${column}"]:not(.x)`, "of-weight")),
    ];
  }

  function bad({ kind, row, column }) {
    (kind === "x" ? x : w)[row][column].setAttribute("aria-invalid", "true");
  }
  return { element, formula, fill, draw, show, point, bad };
}
