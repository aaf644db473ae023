// TypeScript to lib/, and the timeline's renderer to one file: the kernel's widget, reports and the bundle share it.
import { spawnSync } from "node:child_process";
import { copyFileSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

import { build } from "esbuild";

const here = (path) => fileURLToPath(new URL(`../${path}`, import.meta.url));
const RENDERER = here("../src/jupyter_durable/timeline/timeline.js");
const HEAD = `\
// The timeline of a durable run, for every front end. Made by tools/compile.mjs from jupyter_extension/timeline, where
// it is in small modules that say why. Do not edit: \`npm run build\` in jupyter_extension.`;

// A style sheet as a template, with what it imports. Reports allow it by its text: nothing in it may need an escape.
const sheet = (path) =>
  readFileSync(path, "utf-8").replace(/^@import "(.+)";$/gm, (_, name) => sheet(join(dirname(path), name)).trimEnd());
const styles = {
  name: "styles",
  setup: (build) =>
    build.onLoad({ filter: /\.css$/ }, ({ path }) => {
      const text = sheet(path);
      if (/[`\\]|\$\{/.test(text)) return { errors: [{ text: "a style sheet without ` and \\ is needed" }] };
      return { contents: `const CSS = \`\n${text}\`;\nexport default CSS;\n`, loader: "js" };
    }),
};

const compile = (config) => {
  const tsc = spawnSync(process.execPath, [here("node_modules/typescript/bin/tsc"), "-p", here(config)], {
    stdio: "inherit",
  });
  if (tsc.status !== 0) process.exit(tsc.status ?? 1);
};

const bundle = (options) =>
  build({
    absWorkingDir: here("."),
    bundle: true,
    charset: "utf8",
    format: "esm",
    logLevel: "warning",
    plugins: [styles],
    target: "es2022",
    ...options,
  });

rmSync(here("lib"), { recursive: true, force: true });
compile("tsconfig.json");
compile("timeline/tsconfig.json");
await bundle({ entryPoints: ["timeline/index.ts"], outfile: RENDERER, banner: { js: HEAD } });
copyFileSync(RENDERER, here("lib/timeline.js"));
await bundle({
  entryPoints: readdirSync(here("timeline/test")).map((name) => `timeline/test/${name}`),
  outdir: here("lib/test/timeline"),
  platform: "node",
});
