// The renderer (../timeline) that the kernel's widget has, too; tools/compile.mjs builds it, and puts it beside this.

import type { Page } from "./types.js";

export interface Source {
  subscribe: (tell: (page: Page) => void) => () => void;
  ask?: (request: Request) => Promise<unknown>;
  command?: (id: string, args: Record<string, unknown>) => boolean;
}

export type Request =
  | { type: "since"; feed: string; mark: number }
  | { type: "texts"; ns: number[] }
  | { type: "value"; step: string; what: string; offset: number }
  | { type: "decide"; key: string; step: string | null; action: string; value?: unknown; message?: string }
  | { type: "cancel" };

export interface View {
  dispose: () => void;
}

export function mount(el: HTMLElement, source: Source): View;
export function still(page: Page): Source;
export function form(schema: unknown, value: unknown): { el: HTMLElement; read: () => unknown };
