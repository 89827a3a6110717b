import test from "ava";
import { nearest } from "#src/config/suggest.js";

test("a letter wrong, missing, doubled or swapped is forgiven", (t) => {
  for (const word of ["epochz", "epoch", "eepochs", "eopchs", "EPOCHS", "e_pochs"]) {
    t.is(nearest(word, ["steps", "epochs", "seed"]), "epochs", word);
  }
});

test("the nearest of several wins", (t) => {
  t.is(nearest("initseed", ["seed", "initSeed", "orderSeed"]), "initSeed");
});

test("a word that resembles nothing has no suggestion", (t) => {
  t.is(nearest("banana", ["steps", "epochs", "seed"]), undefined);
  t.is(nearest("x", ["steps"]), undefined);
});
