// Figures of a real model, from recorded files: small charts with intervals, and the curve of step 7.

const LOG = Math.log10;
const whole = (value) =>
  value >= 1000 ? Math.round(value).toLocaleString("en") : value.toFixed(value < 100 ? 1 : 0);

/** One recorded point: `find(figures, { method: "wanda", sparsity: 0.5 })`; what is not said is the method's usual. */
function find(figures, wanted) {
  const usual = {
    pattern: "unstructured",
    samples: figures.samples,
    seed: 0,
    group: wanted.method === "wanda" || wanted.method === "wanda+admm" ? "output" : "layer",
  };
  const sought = { ...usual, ...wanted };
  if (sought.pattern !== "unstructured") sought.group = null;
  if (sought.method === "dense") return figures.points.find((point) => point.method === "dense");
  return figures.points.find((point) => Object.keys(sought).every((key) => point[key] === sought[key]));
}

/** Where each figure comes from, in one line. */
function source(figures) {
  return h("p", { class: "source" }, `Recorded, not computed now: ${figures.protocol}`);
}

/** A table whose last column is a picture: perplexity with its interval, on a log axis. */
function chart(figures, caption, rows) {
  const known = rows.map(([label, wanted]) => [label, find(figures, wanted)]).filter(([, point]) => point);
  const low = LOG(Math.min(...known.map(([, point]) => point.low)));
  const high = LOG(Math.max(...known.map(([, point]) => point.high)));
  const place = (value) => `${(100 * (LOG(value) - low)) / (high - low || 1)}%`;
  const body = known.map(([label, { perplexity, low: from, high: to }]) =>
    h(
      "tr",
      { title: `${label}: ${whole(perplexity)}, 95% interval ${whole(from)} to ${whole(to)}` },
      h("th", { scope: "row" }, label),
      h("td", {}, whole(perplexity)),
      h(
        "td",
        { class: "interval", "aria-label": `95% interval ${whole(from)} to ${whole(to)}` },
        h(
          "span",
          {},
          h("i", { class: "whisker", style: `left:${place(from)};right:calc(100% - ${place(to)})` }),
          h("i", { class: "mean", style: `left:${place(perplexity)}` }),
        ),
      ),
    ),
  );
  return h(
    "figure",
    { class: "real" },
    h(
      "table",
      {},
      h("caption", {}, caption),
      h(
        "thead",
        {},
        h(
          "tr",
          {},
          h("th", { scope: "col" }, "On a real model"),
          h("th", { scope: "col" }, "Perplexity"),
          h("th", { scope: "col" }, "95% interval (log)"),
        ),
      ),
      h("tbody", {}, ...body),
    ),
    source(figures),
  );
}

/** Do the intervals of two points have a place in common? */
const overlap = (a, b) => a.low <= b.high && b.low <= a.high;

const CURVES = { wanda: "Wanda", magnitude: "Magnitude", sparsegpt: "SparseGPT" };
// On a phone the picture is as narrow as the screen: drawn for that width its letters stay legible.
const BOX = { width: window.innerWidth > 820 ? 640 : 400, height: 330, left: 58, right: 92, top: 14, bottom: 42 };
const TOP = 30000;

/** The recorded points of a method by sparsity, from the dense model on. */
function curveOf(figures, method) {
  const amounts = [...new Set(figures.points.map((point) => point.sparsity))].sort((a, b) => a - b);
  return amounts
    .map((sparsity) => find(figures, sparsity === 0 ? { method: "dense" } : { method, sparsity }))
    .filter(Boolean);
}

function svg(tag, attributes, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** Perplexity against sparsity, with a dot that moves along Wanda's measured points. */
function buildCurve(figures) {
  const points = curveOf(figures, "wanda");
  const dense = points[0].perplexity;
  const bottom = LOG(20);
  const x = (sparsity) => BOX.left + ((BOX.width - BOX.left - BOX.right) * sparsity) / 0.8;
  const y = (value) =>
    BOX.height -
    BOX.bottom -
    ((BOX.height - BOX.top - BOX.bottom) * (LOG(Math.min(value, TOP)) - bottom)) / (LOG(TOP) - bottom);
  const text = (at, size, anchor, content, name = "") =>
    svg("text", { x: at, y: size, "text-anchor": anchor, class: name }, content);
  const grid = [30, 100, 300, 1000, 3000, 10000].flatMap((value) => [
    svg("line", { x1: BOX.left, x2: BOX.width - BOX.right, y1: y(value), y2: y(value), class: "grid" }),
    text(BOX.left - 8, y(value) + 4, "end", whole(value).replace(".0", "")),
  ]);
  const ticks = points.map(({ sparsity }) =>
    text(x(sparsity), BOX.height - BOX.bottom + 18, "middle", `${Math.round(100 * sparsity)}%`),
  );
  const axis = [
    text((BOX.left + BOX.width - BOX.right) / 2, BOX.height - 6, "middle", "pruned"),
    svg(
      "text",
      { transform: `translate(13 ${(BOX.height - BOX.bottom) / 2}) rotate(-90)`, "text-anchor": "middle" },
      "perplexity (log axis)",
    ),
  ];
  const twice = [
    svg("line", { x1: BOX.left, x2: BOX.width - BOX.right, y1: y(2 * dense), y2: y(2 * dense), class: "twice" }),
    text(BOX.width - BOX.right + 6, y(2 * dense) + 4, "start", "twice dense", "twice"),
  ];
  const curves = Object.entries(CURVES).map(([method, name]) => {
    const measured = curveOf(figures, method).filter((point) => point.perplexity <= TOP);
    const last = measured[measured.length - 1];
    const inside = last.sparsity < 0.8; // a curve that ends inside is named on its left, where no other runs
    return svg(
      "g",
      { class: `curve ${method}` },
      svg("path", {
        d: measured
          .map((point, i) => `${i ? "L" : "M"}${x(point.sparsity).toFixed(1)} ${y(point.perplexity).toFixed(1)}`)
          .join(""),
      }),
      ...measured.map((point) =>
        svg("line", { x1: x(point.sparsity), x2: x(point.sparsity), y1: y(point.low), y2: y(point.high) }),
      ),
      ...measured.map((point) => svg("circle", { cx: x(point.sparsity), cy: y(point.perplexity), r: 3 })),
      text(
        x(last.sparsity) + (inside ? -8 : 8),
        y(last.perplexity) + (method === "wanda" ? 12 : 4),
        inside ? "end" : "start",
        name,
      ),
    );
  });
  const shown = svg("g", {}, ...twice, ...curves);
  const dot = svg("circle", { class: "here", r: 8 });
  const guess = svg("line", { class: "guess", y1: BOX.top + 8, y2: BOX.height - BOX.bottom });
  const guessed = text(0, BOX.top, "middle", "your guess", "guess");
  const picture = svg(
    "svg",
    {
      viewBox: `0 0 ${BOX.width} ${BOX.height}`,
      role: "img",
      "aria-label": "Perplexity of the real model against the share pruned",
    },
    ...grid,
    ...ticks,
    ...axis,
    shown,
    guess,
    guessed,
    dot,
  );
  const reading = h("p", { class: "reading" });
  const element = h("figure", { class: "part curves", "data-part": "curve" }, picture, reading, source(figures));

  /** Put the dot at one of the measured points; before `revealed` only the guess is seen. */
  function draw(index, revealed) {
    const point = points[index];
    shown.style.display = dot.style.display = revealed ? "" : "none";
    guess.style.display = guessed.style.display = revealed ? "none" : "";
    for (const [item, name] of [
      [guess, "x1"],
      [guess, "x2"],
      [guessed, "x"],
    ])
      item.setAttribute(name, x(point.sparsity));
    dot.setAttribute("cx", x(point.sparsity));
    dot.setAttribute("cy", y(point.perplexity));
    reading.textContent = revealed
      ? `Wanda, ${Math.round(100 * point.sparsity)}% pruned: perplexity ${whole(point.perplexity)} (95% interval ${whole(point.low)} to ${whole(point.high)}), ${short(point.perplexity / dense)} × dense.`
      : `You say: Wanda can prune ${Math.round(100 * point.sparsity)}% before perplexity is twice the dense model's.`;
  }
  return { element, draw, points };
}
