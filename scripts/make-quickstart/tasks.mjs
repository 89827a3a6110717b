/** The two data sets of the quickstart, drawn from the grammar. */
import { breakRule, drawSentence, rules, words, written } from "./grammar.mjs";
import { Draws } from "./random.mjs";

/** Numbers of the streams that the sets are drawn from; the seed is one and the same. */
const streams = { auxiliary: 1, acceptability: 2 };

const seed = 2006;

export const acceptability = { labels: ["unacceptable", "acceptable"], train: 300, dev: 500 };

export const auxiliary = { labels: ["none", ...rules], train: 100_000, dev: 1000 };

/**
 * Is the sentence English? Half of the sentences are, in every file; `and` joins subjects here, which the tiny BERT
 * has never met, so that there is something to learn from few examples. None of the sentences is an auxiliary one.
 */
export function acceptabilityRows() {
  const draws = new Draws(seed, streams.acceptability);
  const { train, dev } = auxiliaryRows();
  const taken = new Set([...train, ...dev].map(({ text }) => text));
  return drawRows(acceptability, taken, (index) => {
    const right = index % 2 === 1;
    const { sentence, broken } = drawPair(draws, { pairs: "subjects" });
    return { text: written(words(right ? sentence : broken, draws)), label: right ? "acceptable" : "unacceptable" };
  });
}

/**
 * Which rule does the sentence break, if any? On this the tiny BERT learns its English, from random weights; `and`
 * joins objects here.
 */
export function auxiliaryRows() {
  const draws = new Draws(seed, streams.auxiliary);
  return drawRows(auxiliary, new Set(), () => {
    const { sentence, broken, rule } = drawPair(draws, { pairs: "objects" });
    const right = draws.chance(0.3);
    return { text: written(words(right ? sentence : broken, draws)), label: right ? "none" : rule };
  });
}

/** A sentence, a rule that it can break, and the sentence with that rule broken. */
function drawPair(draws, options) {
  for (;;) {
    const sentence = drawSentence(draws, options);
    const rule = draws.pick(rules);
    const broken = breakRule(sentence, rule, draws);
    if (broken !== null) return { sentence, rule, broken };
  }
}

/** Rows of both files; no text twice, and none of those that are taken. */
function drawRows({ train, dev }, taken, draw) {
  const rows = [];
  while (rows.length < train + dev) {
    const row = draw(rows.length);
    if (taken.has(row.text)) continue;
    taken.add(row.text);
    rows.push(row);
  }
  return { train: rows.slice(0, train), dev: rows.slice(train) };
}

/** A file in the layout of GLUE: tab separated, with a header and without quotes. */
export function tsv(rows) {
  return ["sentence\tlabel", ...rows.map(({ text, label }) => `${text}\t${label}`)].join("\n") + "\n";
}
