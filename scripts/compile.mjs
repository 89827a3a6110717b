// `npm run compile`: set-up with the C++ tests, for work on the sources. (`build` would call `prebuild` first.)
import { main, setUp } from "./setup/set-up.mjs";

await main(() => setUp({ tests: true }));
