// Canvases: as sharp as the screen, in the colours of the style sheet.

import { ORDER } from "./states.js";

export type Pen = CanvasRenderingContext2D;

/** Colours by the name of their variable, and the font. */
export type Colours = Record<string, string> & { font: string };

/** A clear canvas of that size in CSS pixels. */
export function prepare(canvas: HTMLCanvasElement, width: number, height: number): Pen {
  const ratio = window.devicePixelRatio || 1;
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    canvas.style.width = `${width}px`;
    canvas.style.height = `${height}px`;
  }
  const pen = canvas.getContext("2d")!;
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.clearRect(0, 0, width, height);
  return pen;
}

/** What the variables of an element say, read once. */
export class Palette {
  private known: Colours | null = null;

  constructor(private readonly box: HTMLElement) {}

  get colours(): Colours {
    return (this.known ??= this.read());
  }

  /** It looks otherwise now. */
  forget(): void {
    this.known = null;
  }

  private read(): Colours {
    const style = getComputedStyle(this.box);
    const get = (name: string): string => style.getPropertyValue(`--${name}`).trim();
    const names = [...ORDER, "fg", "quiet", "line", "on", "bg"];
    const colours = Object.fromEntries(names.map((name) => [name, get(name) || "#888"]));
    return { ...colours, font: `${get("size") || "12px"} ${get("font") || "sans-serif"}` };
  }
}
