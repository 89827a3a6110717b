/**
 * A small grammar of English: one clause with a subject that may carry a phrase or a relative clause, a verb in the
 * present, past or future, an object or a reflexive, and a word of time. A sentence is drawn as a tree of features;
 * `breakRule` then changes one feature so that exactly one rule of grammar is broken. Every change has its opposite
 * (singular for plural and plural for singular, ...), so that right and wrong sentences hold the same words about
 * equally often: which sentence is wrong cannot be told from any one word.
 */

const persons = [
  ["boy", "boys", "himself"],
  ["king", "kings", "himself"],
  ["uncle", "uncles", "himself"],
  ["father", "fathers", "himself"],
  ["brother", "brothers", "himself"],
  ["prince", "princes", "himself"],
  ["girl", "girls", "herself"],
  ["queen", "queens", "herself"],
  ["aunt", "aunts", "herself"],
  ["mother", "mothers", "herself"],
  ["sister", "sisters", "herself"],
  ["actress", "actresses", "herself"],
].map(([singular, plural, reflexive]) => ({ forms: { singular, plural }, reflexive }));

const things = [
  "letter",
  "lamp",
  "song",
  "garden",
  "picture",
  "bridge",
  "machine",
  "story",
  "window",
  "boat",
  "basket",
  "clock",
].map((noun) => ({ forms: { singular: noun, plural: noun === "story" ? "stories" : `${noun}s` } }));

const transitive = [
  ["paint", "paints", "painted"],
  ["watch", "watches", "watched"],
  ["like", "likes", "liked"],
  ["repair", "repairs", "repaired"],
  ["describe", "describes", "described"],
  ["carry", "carries", "carried"],
  ["clean", "cleans", "cleaned"],
  ["show", "shows", "showed"],
].map(forms);

const reflexive = [
  ["admire", "admires", "admired"],
  ["blame", "blames", "blamed"],
  ["trust", "trusts", "trusted"],
  ["praise", "praises", "praised"],
].map(forms);

function forms([base, thirdPerson, past]) {
  return { base, thirdPerson, past };
}

const determiners = { singular: ["this", "that", "every", "a"], plural: ["these", "those", "all", "many"] };
const adjectives = ["old", "young", "small", "tall", "quiet", "happy", "strange", "clever"];
const prepositions = ["near", "behind", "with", "beside"];
const times = {
  past: ["yesterday", "last week", "long ago"],
  future: ["tomorrow", "next week", "very soon"],
  present: ["every day", "these days", "all the time"],
};

const otherNumber = { singular: "plural", plural: "singular" };

/** The rules that can be broken, in the order of their names in reports. */
export const rules = ["verb agreement", "determiner", "reflexive", "time", "verb form"];

const number = (draws) => (draws.chance(0.5) ? "singular" : "plural");

function drawNoun(draws, nouns) {
  const own = number(draws);
  return {
    noun: draws.pick(nouns),
    number: own,
    determiner: draws.chance(0.25) ? "the" : draws.pick(determiners[own]),
    adjective: draws.chance(0.35) ? draws.pick(adjectives) : null,
  };
}

/**
 * A grammatical sentence as features.
 *
 * @param {{ pairs: "subjects" | "objects" }} options where "and" may join two nouns: two subjects take a plural verb
 */
export function drawSentence(draws, { pairs }) {
  const tense = draws.pick(["past", "future", "present", "present"]);
  const subject = drawNoun(draws, persons);
  const own = draws.chance(0.3);
  const second = draws.chance(0.4) ? drawNoun(draws, pairs === "subjects" ? persons : things) : null;
  const secondSubject = pairs === "subjects" ? second : null;
  const plural = secondSubject !== null || subject.number === "plural";
  return {
    subject,
    secondSubject,
    modifier: drawModifier(draws),
    tense,
    time: draws.pick(times[tense]),
    timeFirst: draws.chance(0.5),
    negated: draws.chance(0.3),
    verbNumber: plural ? "plural" : "singular",
    verbForm: "right",
    verb: draws.pick(own ? reflexive : transitive),
    object: own ? null : drawNoun(draws, things),
    secondObject: own || pairs === "subjects" ? null : second,
    reflexive: own ? (plural ? "themselves" : subject.noun.reflexive) : null,
  };
}

/** What stands between the subject's noun and its verb, and tempts the verb to agree with the wrong noun. */
function drawModifier(draws) {
  const kind = draws.below(4);
  if (kind < 2) return null;
  const noun = drawNoun(draws, kind === 2 ? things : persons);
  noun.adjective = null;
  return kind === 2
    ? { words: draws.pick(prepositions), noun, verb: null }
    : { words: "that", noun, verb: draws.pick(transitive) };
}

/** The same sentence with one rule broken, or null where the sentence has no place for it. */
export function breakRule(told, rule, draws) {
  if (rule === "verb agreement") {
    if (told.tense !== "present") return null;
    return { ...told, verbNumber: otherNumber[told.verbNumber] };
  }
  if (rule === "determiner") {
    const places = ["subject", "object"].filter((place) => told[place] && told[place].determiner !== "the");
    if (places.length === 0) return null;
    const place = draws.pick(places);
    const noun = told[place];
    return { ...told, [place]: { ...noun, determiner: draws.pick(determiners[otherNumber[noun.number]]) } };
  }
  if (rule === "reflexive") {
    if (told.reflexive === null) return null;
    const wrong = ["himself", "herself", "themselves"].filter((word) => word !== told.reflexive);
    return { ...told, reflexive: draws.pick(wrong) };
  }
  if (rule === "time") {
    const wrong = Object.keys(times).filter((tense) => tense !== told.tense);
    return { ...told, time: draws.pick(times[draws.pick(wrong)]) };
  }
  if (rule === "verb form") {
    if (!told.negated && told.tense !== "future") return null;
    return { ...told, verbForm: "wrong" };
  }
  throw new Error(`no rule is called ${rule}`);
}

/** The words of a sentence, lower case. */
export function words(told, draws) {
  const clause = [
    ...nounPhrase(told.subject),
    ...(told.secondSubject ? ["and", ...nounPhrase(told.secondSubject)] : modifierWords(told.modifier)),
    ...verbWords(told, draws),
    ...(told.object ? nounPhrase(told.object) : [told.reflexive]),
    ...(told.secondObject ? ["and", ...nounPhrase(told.secondObject)] : []),
  ];
  const time = told.time.split(" ");
  return withArticles(told.timeFirst ? [...time, ",", ...clause, "."] : [...clause, ...time, "."]);
}

/** "a" is "an" before a vowel. */
function withArticles(list) {
  return list.map((word, i) => (word === "a" && /^[aeiou]/.test(list[i + 1] ?? "") ? "an" : word));
}

/** Every word that a sentence can hold, in alphabetic order. */
export function allWords() {
  const inflected = [...persons, ...things].flatMap(({ forms }) => Object.values(forms));
  const verbs = [...transitive, ...reflexive].flatMap((verb) => Object.values(verb));
  const phrases = Object.values(times).flat().join(" ").split(" ");
  const own = ["himself", "herself", "themselves", "the", "an", "and", "that", "not", "will", "do", "does", "did"];
  const lists = [inflected, verbs, phrases, own, adjectives, prepositions, ...Object.values(determiners)];
  return [...new Set(lists.flat())].sort();
}

function nounPhrase({ noun, number, determiner, adjective }) {
  return [determiner, ...(adjective ? [adjective] : []), noun.forms[number]];
}

function modifierWords(modifier) {
  if (modifier === null) return [];
  const { words, noun, verb } = modifier;
  return [words, ...nounPhrase(noun), ...(verb ? [verb.past] : [])];
}

function verbWords({ tense, negated, verb, verbNumber, verbForm }, draws) {
  const bare = verbForm === "right" ? verb.base : draws.pick([verb.thirdPerson, verb.past]);
  if (tense === "future") return negated ? ["will", "not", bare] : ["will", bare];
  if (negated) return [tense === "past" ? "did" : verbNumber === "singular" ? "does" : "do", "not", bare];
  if (tense === "past") return [verb.past];
  return [verbNumber === "singular" ? verb.thirdPerson : verb.base];
}

/** Written English: a capital at the start, no space before a mark. */
export function written(list) {
  const text = list.join(" ").replace(/ ([.,])/g, "$1");
  return text.charAt(0).toUpperCase() + text.slice(1);
}
