// One page of questions and one of answers, seen only in print.

const QUESTIONS = [
  [
    "Two weights of a row are 0.9 and −0.2; their inputs' norms are 0.37 and 7.07. Which one does Magnitude prune first, which one Wanda? Show the arithmetic.",
    "Magnitude compares 0.9 with 0.2 and prunes −0.2. Wanda compares 0.9 × 0.37 = 0.33 with 0.2 × 7.07 = 1.41 and prunes 0.9.",
  ],
  ["An input has the values 3, −4 and 0 at three tokens. What is its norm?", "√(9 + 16 + 0) = 5."],
  [
    "A row has |W| = 0.8, 0.1, 0.3, 0.7 and norms 1, 9, 2, 1. Half is pruned. Which weights does Wanda keep, and which Magnitude?",
    "Wanda's scores are 0.8, 0.9, 0.6, 0.7: it keeps 0.8 and 0.1. Magnitude keeps 0.8 and 0.7.",
  ],
  [
    "Why do weights compete within their row and not within the whole layer?",
    "A row with small weights would lose nearly all of them, and its output with it. Within rows every output loses the same share.",
  ],
  [
    "Eight scores of a row: 9, 8, 7, 1, 2, 3, 4, 6. Which four are kept with zeros anywhere, and which with 2:4?",
    "Anywhere: 9, 8, 7, 6. With 2:4: 9, 8 of the first four and 4, 6 of the others: 7 must be pruned, and 4 is kept in its place.",
  ],
  [
    "Why is a little calibration text enough for Wanda?",
    "The norms are needed only as far as they order the scores of a row; more text changes few of those orders.",
  ],
  [
    "Two weights have the same score and one must be pruned. Which one, in this app?",
    "The earlier one. Any fixed rule would do; a fixed one makes the result repeatable.",
  ],
  [
    "An input is always zero. What are its weights' scores, and what does pruning them cost?",
    "Zero, and nothing: on this text they never add to an output. (Other text may use that input.)",
  ],
  [
    "What do SparseGPT and ADMM do that Wanda does not, and why can it help?",
    "They change the kept weights. Inputs rise and fall together, so a kept weight can take over part of what a pruned one did.",
  ],
  [
    "At half of the weights pruned, does the file of the model become half as large, and the model twice as fast?",
    "Not by itself: zeros are stored and multiplied like other numbers, unless a format and a program skip them. 2:4 is such a format.",
  ],
];

function buildWorksheet() {
  const page = (title, items) => h("section", { class: "sheet" }, h("h2", {}, title), h("ol", {}, ...items));
  return h(
    "div",
    { class: "worksheet" },
    page(
      "Pruning a language model: questions",
      QUESTIONS.map(([question]) => h("li", {}, question, h("div", { class: "space" }))),
    ),
    page(
      "Pruning a language model: answers",
      QUESTIONS.map(([, answer]) => h("li", {}, answer)),
    ),
  );
}
