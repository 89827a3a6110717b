#!/usr/bin/env node
// Prepares steadytune: in a clone `npm run setup`, for an installed package `npx steadytune-setup`.
import { main, setUp } from "./setup/set-up.mjs";

await main(() => setUp());
