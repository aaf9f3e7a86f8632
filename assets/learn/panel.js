// The left side, where a step says what to do, and the toolbar above the stage.

/** How many weights are decided differently, by tokens: a bar for each number of tokens. */
function buildChanges() {
  const bars = Array.from({ length: MANY }, () => h("i", {}));
  const strip = h("div", { class: "strip", role: "img" }, ...bars);
  const element = h(
    "section",
    { class: "part changes", "data-part": "changes" },
    h(
      "div",
      { class: "caption" },
      h("h2", {}, `Weights decided differently than with all ${MANY} tokens, by tokens used`),
    ),
    h("div", { class: "line" }, h("span", { class: "side" }, "of 24"), strip, h("span", { class: "end" })),
  );
  function draw(changes, tokens) {
    strip.setAttribute("aria-label", `With 1 to ${MANY} tokens: ${changes.join(", ")}`);
    const most = Math.max(...changes, 1);
    bars.forEach((bar, n) => {
      bar.style.setProperty("--share", changes[n] / most);
      bar.textContent = changes[n] || "";
      bar.classList.toggle("here", n + 1 === tokens);
    });
  }
  return { element, draw };
}

function buildPanel(figures, state, on) {
  const number = (value) => (Number.isInteger(value) ? value : value.toFixed(1));
  const choice = (name, label, options, key, act = on.changed) => {
    const select = h(
      "select",
      { change: () => ((state[key] = select.value), act(select.value)) },
      ...options.map(([value, text]) => h("option", { value }, text)),
    );
    return {
      element: h("label", { class: "control", "data-control": name }, h("span", {}, label), select),
      draw: () => (select.value = state[key]),
    };
  };
  const slider = (name, max, min, get, put, say, step = 1) => {
    const input = h("input", {
      type: "range",
      min,
      max,
      step,
      input: () => (put(Number(input.value)), on.changed()),
    });
    const text = h("span", {});
    return {
      element: h("label", { class: "control wide", "data-control": name }, text, input),
      draw(model) {
        input.value = get();
        write(text, { text: say(model) });
        write(input, { "aria-valuetext": say(model) });
      },
    };
  };
  const points = curveOf(figures, "wanda");
  const reveal = h("button", { type: "button", class: "primary", click: on.reveal }, "Reveal");
  const reset = h("button", { type: "button", click: on.reset }, "Reset");
  const lab = h("a", { class: "primary", href: LAB, target: "_blank", rel: "noopener" }, "Open the Lab");
  const fixed = (name, element) => ({
    element: h("div", { class: "control", "data-control": name }, element),
    draw: () => {},
  });
  const controls = {
    example: choice(
      "example",
      "Example",
      Object.entries(EXAMPLES).map(([key, { name }]) => [key, name]),
      "example",
      on.example,
    ),
    share: slider(
      "share",
      8,
      0,
      () => 8 * state.sparsity,
      (k) => (state.sparsity = k / 8),
      () =>
        state.pattern === "unstructured" ? `Prune ${number(8 * state.sparsity)} of 8` : `${state.pattern} fixes it`,
    ),
    group: choice(
      "group",
      "Compete within",
      [
        ["output", "each row"],
        ["layer", "whole layer"],
        ["input", "each column"],
      ],
      "group",
    ),
    pattern: choice(
      "pattern",
      "Pattern",
      [
        ["unstructured", "anywhere"],
        ["2:4", "2:4"],
        ["4:8", "4:8"],
      ],
      "pattern",
    ),
    tokens: slider(
      "tokens",
      MANY,
      1,
      () => state.tokens,
      (n) => (state.tokens = n),
      () => `Tokens: ${state.tokens} of ${MANY}`,
    ),
    far: slider(
      "far",
      points.length - 1,
      0,
      () => state.far,
      (n) => (state.far = n),
      () => `Pruned: ${Math.round(100 * points[state.far].sparsity)}%`,
    ),
    update: choice(
      "update",
      "Update",
      [
        ["admm", "Wanda + ADMM"],
        ["sparsegpt", "SparseGPT"],
      ],
      "update",
    ),
    move: slider(
      "move",
      100,
      0,
      () => state.move,
      (n) => (state.move = n),
      () => `Move: ${state.move}%`,
      5,
    ),
    reveal: fixed("reveal", reveal),
    reset: fixed("reset", reset),
    lab: fixed("lab", lab),
  };
  const toolbar = h(
    "div",
    { class: "toolbar", role: "group", "aria-label": "Settings" },
    ...Object.values(controls).map(({ element }) => element),
  );

  const dots = STEPS.map(({ title }, i) => h("a", { href: linkTo(i), title }, `${i + 1}`));
  const nav = h("nav", { class: "steps-nav", "aria-label": "Steps" }, ...dots);
  const title = h("h1", { tabindex: -1 });
  const body = h("div", { class: "body" });
  const task = h("p", {});
  const after = h("p", { class: "after", role: "status" });
  const word = h("span", {}, "Try");
  const box = h(
    "div",
    { class: "task" },
    h("h2", {}, h("span", { class: "check", "aria-hidden": "true" }), word),
    task,
    after,
  );
  const real = h("div", {});
  const back = h("button", { type: "button", click: () => on.turn(-1) }, "Back");
  const next = h("button", { type: "button", class: "primary", click: () => on.turn(1) }, "Next");
  const print = h("button", { type: "button", class: "print", click: () => window.print() }, "Print the worksheet");
  const scroll = h("div", { class: "scroll-body", tabindex: -1 }, title, body, box, real);
  const steps = h(
    "section",
    { class: "panel", "aria-label": "Lesson" },
    nav,
    scroll,
    h("div", { class: "turn" }, back, print, next),
  );
  let shown = null;

  function show(step) {
    title.textContent = `${state.step + 1}. ${step.title}`;
    body.innerHTML = typeof step.body === "function" ? step.body(figures) : step.body;
    task.innerHTML = step.task;
    real.replaceChildren(...(step.chart ? [step.chart(figures)] : []));
    for (const [name, { element }] of Object.entries(controls)) {
      element.hidden = !(name === "reset" ? step.controls.includes("example") : step.controls.includes(name));
      element.classList.toggle("lit", step.lit.includes(name));
    }
    toolbar.hidden = !step.controls.length;
    back.disabled = state.step === 0;
    next.disabled = state.step === STEPS.length - 1;
    dots.forEach((dot, i) =>
      i === state.step ? dot.setAttribute("aria-current", "step") : dot.removeAttribute("aria-current"),
    );
    if (shown) {
      scroll.scrollTop = 0;
      title.focus({ preventScroll: true });
    }
    shown = step;
  }

  function draw(model, done) {
    for (const control of Object.values(controls)) control.draw(model);
    const step = STEPS[state.step];
    controls.share.element.lastChild.disabled = controls.group.element.lastChild.disabled =
      state.pattern !== "unstructured";
    reveal.disabled = state.revealed || (step.show.includes("guess") && state.guess.size !== 4);
    const said = step.after(state, model);
    if (after.dataset.said !== said) {
      after.dataset.said = said;
      after.innerHTML = said;
    }
    const finished = done.has(state.step + 1);
    box.classList.toggle("done", finished);
    write(word, { text: finished ? "Done" : "Try" });
    dots.forEach((dot, i) => {
      dot.classList.toggle("done", done.has(i + 1));
      write(dot, { "aria-label": `Step ${i + 1}: ${STEPS[i].title}${done.has(i + 1) ? ", done" : ""}` });
    });
  }
  return { steps, toolbar, lab, show, draw, along: () => controls.far.element.lastChild.focus() };
}
