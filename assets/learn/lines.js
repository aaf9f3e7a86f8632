// Number lines: the scores of a row with its threshold, which can be dragged; and how far kept weights move.

const DOT = 13;
const MARGIN = 15; // beside the outermost dots, as in learn.css

/** Dots that would lie on each other step aside: a level (0, 1, -1) for every place. */
function levels(places, width) {
  const order = places.map((_, i) => i).sort((a, b) => places[a] - places[b]);
  const last = [-Infinity, -Infinity, -Infinity];
  const result = places.map(() => 0);
  for (const i of order) {
    const at = places[i] * width;
    let level = last.findIndex((end) => at - end >= DOT);
    if (level < 0) level = last.indexOf(Math.min(...last));
    last[level] = at;
    result[i] = level === 2 ? -1 : level;
  }
  return result;
}

/** One method's lines, a row each. While the whole layer competes they merge into one. Places go by the square root of
 * a score, so that low scores do not crowd. */
function buildLines(kind, rows, columns, on) {
  const range = (n) => Array.from({ length: n }, (_, i) => i);
  const dots = range(rows).map((i) =>
    range(columns).map((j) => h("span", { class: "dot", "data-row": i, "data-column": j })),
  );
  const handles = range(rows).map((i) =>
    h("span", {
      class: "threshold",
      role: "slider",
      tabindex: 0,
      "aria-orientation": "horizontal",
      "aria-valuemin": 0,
      "data-kind": kind,
      "data-line": i,
    }),
  );
  const sides = range(rows).map((i) => h("span", { class: "side" }, `out ${i}`));
  const tracks = range(rows).map((i) => h("div", { class: "track" }, ...dots[i], handles[i]));
  const legend = h("small", {});
  const title = h("h2", {}, `${METHOD[kind].name}: scores in order `, legend);
  const element = h(
    "div",
    { class: `axis ${kind}`, role: "group", "aria-label": `${METHOD[kind].name}: number lines` },
    title,
    ...tracks.map((track, i) => h("div", { class: "row" }, sides[i], track)),
  );
  let shown = null;
  let width = 240;
  new ResizeObserver(() => {
    const now = tracks[0].clientWidth - 2 * MARGIN;
    if (now > 0 && now !== width) {
      width = now;
      if (shown) draw(shown);
    }
  }).observe(element);

  const scoreAt = (line, clientX) => {
    const box = tracks[line].getBoundingClientRect();
    const along = (clientX - box.left - MARGIN) / (box.width - 2 * MARGIN);
    return along < 0 ? -1 : shown.scales[line] * along ** 2;
  };
  handles.forEach((handle, i) => {
    handle.addEventListener("pointerdown", (event) => {
      event.preventDefault();
      handle.focus();
      handle.setPointerCapture(event.pointerId);
    });
    handle.addEventListener("pointermove", (event) => {
      if (!handle.hasPointerCapture(event.pointerId)) return;
      const limit = scoreAt(i, event.clientX);
      on.threshold(shown.competing(i).filter((score) => score <= limit).length);
    });
    handle.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, Home: -Infinity, End: Infinity }[
        event.key
      ];
      if (step === undefined) return;
      event.preventDefault();
      on.threshold(Math.max(0, Math.min(shown.size, shown.count + step)));
    });
  });

  /** `{scores, mask, merged, thresholds, scales, size, count, competing}`: see `linesOf` in lesson.js. */
  function draw(model) {
    shown = model;
    element.classList.toggle("merged", model.merged);
    write(legend, { text: `(numbered by ${model.merged ? "output" : "input"}; square-root axis)` });
    const along = (score, i) => (model.scales[i] > 0 ? Math.sqrt(Math.min(1, score / model.scales[i])) : 0);
    const places = model.scores.map((row, i) => row.map((score) => along(score, i)));
    const aside = model.merged ? levels(places.flat(), width) : places.flatMap((row) => levels(row, width));
    dots.forEach((row, i) =>
      row.forEach((dot, j) => {
        const look = `${places[i][j].toFixed(4)} ${aside[i * columns + j]} ${model.merged} ${model.mask[i][j]}`;
        if (dot.look === look) return;
        dot.look = look;
        write(dot, {
          text: model.merged ? i : j,
          style: { "--f": places[i][j].toFixed(4), "--level": aside[i * columns + j] },
        });
        dot.classList.toggle("pruned", !model.mask[i][j]);
      }),
    );
    handles.forEach((handle, i) => {
      handle.hidden = model.thresholds === null || (model.merged && i > 0);
      if (handle.hidden) return;
      const at = model.thresholds[i];
      write(handle, {
        style: { "--f": along(at.place, i).toFixed(4) },
        "aria-label": `${METHOD[kind].name}: threshold of ${model.merged ? "all rows" : `out ${i}`}`,
        "aria-valuemax": model.size,
        "aria-valuenow": model.count,
        "aria-valuetext": `${model.count} of ${model.size} pruned${at.highest === null ? "" : `, the highest of them scores ${short(at.highest)}`}`,
      });
    });
    sides.forEach((side, i) => write(side, { text: model.merged ? (i ? "" : "all") : `out ${i}` }));
  }
  return { element, draw };
}

/** Every weight as an arrow from where it was to where the update puts it. */
function buildMoves(rows, columns) {
  const range = (n) => Array.from({ length: n }, (_, i) => i);
  const bars = range(rows).map((i) =>
    range(columns).map((j) =>
      h(
        "span",
        { class: "move", "data-row": i, "data-column": j },
        h("i", { class: "from" }),
        h("i", { class: "way" }),
        h("i", { class: "to" }),
      ),
    ),
  );
  const element = h(
    "div",
    { class: "part moves", "data-part": "moves", role: "img", "aria-label": "How far each weight moves" },
    h("div", { class: "caption" }, h("h2", {}, "Where each weight was (○) and is (●)")),
    ...bars.map((row, i) =>
      h("div", { class: "line" }, h("span", { class: "side" }, `out ${i}`), ...row, h("span", { class: "end" })),
    ),
  );
  function draw({ before, after }) {
    before.forEach((row, i) => {
      const largest = Math.max(...row.map(Math.abs), ...after[i].map(Math.abs), Number.MIN_VALUE);
      row.forEach((value, j) => {
        const [from, to] = [value, after[i][j]].map((v) => (1 - v / largest) / 2); // 0 at the top
        const [first, way, last] = bars[i][j].children;
        first.style.setProperty("--y", from);
        last.style.setProperty("--y", to);
        way.style.top = `calc(5px + (100% - 10px) * ${Math.min(from, to)})`;
        way.style.height = `calc((100% - 10px) * ${Math.abs(from - to)})`;
        last.classList.toggle("pruned", after[i][j] === 0);
      });
    });
  }
  return { element, draw };
}
