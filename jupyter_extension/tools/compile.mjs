// TypeScript to lib/, and the timeline's renderer beside it: it is one file, shared with the kernel's widget.
import { spawnSync } from "node:child_process";
import { copyFileSync, rmSync } from "node:fs";
import { fileURLToPath } from "node:url";

const here = (path) => fileURLToPath(new URL(`../${path}`, import.meta.url));

rmSync(here("lib"), { recursive: true, force: true });
const tsc = spawnSync(process.execPath, [here("node_modules/typescript/bin/tsc"), "-p", here("tsconfig.json")], {
  stdio: "inherit",
});
if (tsc.status !== 0) process.exit(tsc.status ?? 1);
copyFileSync(here("../src/jupyter_durable/timeline/timeline.js"), here("lib/timeline.js"));
