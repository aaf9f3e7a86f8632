// The lesson: holds what the visitor set, has it drawn, and goes from step to step.

const STORED = "wanda-lab-learn";
const HALF = { sparsity: 0.5, group: "output", pattern: "unstructured" };
const copy = (matrix) => matrix.map((row) => [...row]);

/** Progress kept in the browser: `{done: [step numbers], at}`. A browser that keeps nothing is no fault. */
function stored() {
  try {
    const { done, at } = JSON.parse(localStorage.getItem(STORED)) ?? {};
    return { done: new Set(Array.isArray(done) ? done.filter((n) => n >= 1 && n <= STEPS.length) : []), at };
  } catch {
    return { done: new Set() };
  }
}

function store(done, at) {
  try {
    localStorage.setItem(STORED, JSON.stringify({ done: [...done], at }));
  } catch {
    /* private windows may forbid it */
  }
}

/** Build the lesson in an element. `figures`: see `figures` in components/learn/report.py. */
function mount(root, figures) {
  const kept = stored();
  const edited = new Map(); // by step and example: each step starts from numbers that it can speak of
  const valuesOf = (step, name) => {
    const key = `${step} ${name}`;
    if (!edited.has(key)) edited.set(key, { w: copy(EXAMPLES[name].w), x: copy(EXAMPLES[name].x) });
    return edited.get(key);
  };
  const state = {
    step: 0,
    example: "start",
    values: valuesOf(0, "start"),
    ...HALF,
    tokens: MANY,
    move: 0,
    update: "admm",
    far: 0,
    guessed: 0,
    hand: new Set(),
    tried: new Map(),
    guess: new Set(),
    seen: new Set(),
    point: { row: 0, column: 1 },
    revealed: false,
    found: false,
    opened: false,
  };
  const present = new URLSearchParams(location.search).get("present") === "1";
  let model;

  const stage = buildStage(3, 8, 3, {
    point(place) {
      state.point = { row: place.row === null || place.kind === "x" ? null : place.row, column: place.column };
      stage.point(state.point);
      stage.formula.replaceChildren(...formulaOf(state.point, state, STEPS[state.step], model));
    },
    press({ kind, row, column }) {
      const key = `${row},${column}`;
      if (kind === "hand") {
        if (!state.hand.delete(key)) state.hand.add(key);
        const only = [...state.hand][0];
        draw();
        if (state.hand.size === 1) {
          const [i, j] = only.split(",").map(Number);
          state.tried.set(only, { row: i, value: state.values.w[i][j], error: model.blocks.hand.error.rows[i] });
        }
      } else if (kind === "guess" && !state.revealed) {
        if (!state.guess.delete(column) && state.guess.size < 4) state.guess.add(column);
      } else if (kind === "wanda" && state.pattern !== "unstructured") {
        state.found ||= model.anywhere.mask[row][column] && !model.blocks.wanda.mask[row][column];
      }
      draw();
    },
    type(place, text) {
      const value = readNumber(text);
      if (value === null) {
        stage.bad(place);
        notice(
          `${place.kind === "x" ? `token ${place.row}` : `out ${place.row}`}, in ${place.column}: type a number between −1,000,000 and 1,000,000. The picture still shows ${short(state.values[place.kind][place.row][place.column])}.`,
          true,
        );
        return;
      }
      set(place, value, false);
    },
    nudge: (place, by) =>
      set(
        place,
        Math.max(
          -LARGEST,
          Math.min(LARGEST, Math.round((state.values[place.kind][place.row][place.column] + by) * 1e6) / 1e6),
        ),
        true,
      ),
    threshold(count) {
      state.sparsity = count / model.lines.wanda.size;
      draw();
    },
  });

  function set({ kind, row, column }, value, all) {
    state.values[kind][row][column] = value;
    state.tried.clear(); // they were of other numbers
    stage.fill(state.values, all);
    notice("");
    draw();
  }

  const panel = buildPanel(figures, state, {
    changed: draw,
    turn: (by) => turnTo(state.step + by),
    example(name) {
      load(name);
      draw();
    },
    reset() {
      edited.delete(`${state.step} ${state.example}`);
      Object.assign(state, HALF);
      state.hand.clear();
      load(state.example);
      draw();
    },
    reveal() {
      state.revealed = true;
      state.guessed = state.far;
      show();
      draw();
      panel.along(); // the button is no longer to be pressed, and an arrow key on the page itself turns to another step
    },
  });
  const curve = buildCurve(figures);
  const changes = buildChanges();
  const real = buildReal(figures, opened);
  stage.element.append(curve.element, changes.element, real);
  const warning = h("p", { class: "notice", role: "status" });
  const element = h(
    "div",
    { class: `lesson${present ? " present" : ""}` },
    panel.steps,
    h("div", { class: "right" }, panel.toolbar, warning, stage.element, stage.formula),
    buildWorksheet(),
  );
  panel.lab.addEventListener("click", opened);
  root.replaceChildren(element);
  document.documentElement.classList.add("learn");
  document.documentElement.classList.toggle("learn-present", present);

  function opened() {
    state.opened = true;
    draw();
  }
  function notice(text, fault = false) {
    warning.textContent = text || EXAMPLES[state.example].note;
    warning.classList.toggle("fault", fault);
  }
  function load(name) {
    state.example = name;
    state.values = valuesOf(state.step, name);
    state.tried.clear();
    stage.fill(state.values, true);
    notice("");
  }

  function draw() {
    const step = STEPS[state.step];
    stage.element.classList.toggle("fours", state.pattern === "2:4");
    state.seen.add(state.group).add(`tokens ${state.tokens}`);
    model = compute(state, step);
    model.curve = curve;
    stage.draw(model);
    if (step.show.includes("curve")) curve.draw(state.far, state.revealed);
    if (model.changes) changes.draw(model.changes, state.tokens);
    stage.point(state.point);
    stage.formula.replaceChildren(...formulaOf(state.point, state, step, model));
    if (!kept.done.has(state.step + 1) && step.done(state, model)) {
      kept.done.add(state.step + 1);
      store(kept.done, state.step + 1);
    }
    panel.draw(model, kept.done);
  }

  function show() {
    const step = STEPS[state.step];
    const names = state.revealed && step.revealed ? step.revealed : step.show;
    stage.show(names, step.lit);
    curve.element.hidden = !names.includes("curve");
    changes.element.hidden = !names.includes("changes");
    real.hidden = !names.includes("real");
    stage.formula.hidden = !names.includes("w");
    for (const part of [curve.element, real]) part.classList.toggle("lit", step.lit.includes(part.dataset.part));
  }

  function go(index, words = "") {
    const step = STEPS[index];
    Object.assign(state, HALF, {
      step: index,
      tokens: step.tokens ?? MANY,
      move: 0,
      far: 0,
      revealed: false,
      found: false,
      opened: false,
      point: step.point ?? { row: 0, column: 1 },
    });
    state.seen = new Set();
    state.guess = new Set();
    load(step.example ?? state.example);
    if (words) notice(words, true);
    store(kept.done, index + 1);
    panel.show(step);
    show();
    draw();
  }

  /** Go to a step as by its link. */
  function turnTo(index) {
    history.pushState(null, "", linkTo(index));
    go(index);
  }

  /** The step that the address names; where it names none, the one the visitor was at. */
  function follow() {
    const named = /^#step=(.*)$/.exec(location.hash)?.[1];
    const number = Number(named ?? kept.at ?? 1);
    if (Number.isInteger(number) && number >= 1 && number <= STEPS.length) go(number - 1);
    else
      go(
        0,
        named === undefined
          ? ""
          : "This link names a step that does not exist: the lesson has steps 1 to 10. This is step 1.",
      );
  }
  // Gone with the element: a page that is left and opened again builds a lesson anew.
  const listen = (target, event, act) => {
    const once = (fired) => (element.isConnected ? act(fired) : target.removeEventListener(event, once));
    target.addEventListener(event, once);
  };
  listen(window, "hashchange", follow);
  listen(window, "beforeprint", () => {
    for (let around = root; around; around = around.parentElement) around.dataset.aroundLesson = "";
  });
  listen(document, "keydown", (event) => {
    if (event.defaultPrevented || event.altKey || event.ctrlKey || event.metaKey) return;
    const turn = {
      PageDown: 1,
      PageUp: -1,
      ...(event.target.closest?.("input, select, textarea, .cell, .threshold")
        ? {}
        : { ArrowRight: 1, ArrowLeft: -1 }),
    }[event.key];
    if (!turn || !STEPS[state.step + turn]) return;
    event.preventDefault();
    turnTo(state.step + turn);
  });
  follow();
  return { state, go };
}
