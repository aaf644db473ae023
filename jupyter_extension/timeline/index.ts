// The timeline of a durable run: one renderer for every front end.
//
//   mount(el, source)      draws into `el`; the Lab extension and reports call it
//   render({model, el})    the same over an anywidget model
//
// What it is given are pages of rows (rows.py says what is in them). They go one way:
//
//   mount, widget                    homes: an element and a source of pages
//   timeline                         takes pages, draws once a frame (frames), hands on what people do
//   model, filter, viewpoint         what is known, what of it matches, from where it is looked at
//   header                           the run (title, meter, relations); announcer says it to those who listen
//   toolbar, grid                    how steps are looked at; only those in sight are there
//   list, row                        steps as lines
//   lanes, lane, bars, axis, moves   scopes in time: scale (time on a line), track (on so many pixels), canvas
//   details, values                  one step in full
//   decisions, card                  what people are to say; commands, what the run is told
//   asking                           what is fetched while somebody looks
//   forms, schema, markdown          made of nodes; words, states and sizes are what all of them share
//   themes, style/                   whose colours, and what it looks like
//
// tools/compile.mjs makes one file of it, for anywidget loads a module from a blob, which can import nothing beside
// it; what the Lab extension bundles, a report embeds and other front ends load is that same file.

import { render } from "./widget.js";

export { form } from "./forms.js";
export { markdown } from "./markdown.js";
export { mount, still } from "./mount.js";
export { money, span } from "./words.js";
export { render };

export default { render };
