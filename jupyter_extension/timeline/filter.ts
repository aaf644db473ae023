// Which steps are shown: those with some words in them, of a kind, in some states.

import type { Row } from "../src/types.js";
import type { Model } from "./model.js";
import { figure } from "./words.js";

export class Filter {
  search = "";
  kind = "";
  readonly states = new Set<string>();
  /** The numbers of the rows that match; null: all. */
  shown: number[] | null = null;

  /** Steps of a state, too, or no more. */
  toggle(state: string): void {
    if (!this.states.delete(state)) this.states.add(state);
  }

  /** Those that match, where others are to be seen beside them; null: all are alike. */
  get lit(): Set<number> | null {
    return this.shown && (this.search || this.kind || this.states.size) ? new Set(this.shown) : null;
  }

  /** Find them anew; says how many they are. */
  match({ rows, leftOut, run }: Model): string {
    const words = this.search.split(/\s+/).filter(Boolean);
    const filtered = words.length || this.kind || this.states.size;
    if (!filtered && !leftOut) {
      this.shown = null;
      return "";
    }
    const found: number[] = [];
    let there = 0;
    for (const row of rows) {
      if (!row) continue;
      there += 1;
      if (this.matches(row, words)) found.push(row.n);
    }
    this.shown = found;
    const steps = run?.steps ?? 0;
    const of = `${figure(found.length)} of ${figure(steps)}`;
    if (filtered) return of;
    return steps > there ? `the last ${of}` : "";
  }

  private matches(row: Row, words: string[]): boolean {
    if (this.kind && row.kind !== this.kind) return false;
    if (this.states.size && (!this.states.has(row.status) || row.old)) return false;
    if (!words.length) return true;
    const told = `${row.call || ""} ${row.says || ""} ${row.model || ""}`;
    const text = `${row.id} ${row.name} ${row.kind} ${told}`.toLowerCase();
    return words.every((word) => text.includes(word));
  }
}
