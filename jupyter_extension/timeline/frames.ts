// Drawing once a frame, however much has changed by then, and only that.

export type Part = "head" | "list" | "lanes" | "waits" | "filter";
/** Parts are to be drawn again. */
export type Schedule = (...parts: Part[]) => void;

const every = (is: boolean): Record<Part, boolean> => ({ head: is, list: is, lanes: is, waits: is, filter: is });

export class Frames {
  private frame = 0;
  private dirty = every(true);

  constructor(private readonly draw: () => void) {}

  readonly schedule: Schedule = (...parts) => {
    this.touch(...parts);
    if (!this.frame) this.frame = requestAnimationFrame(() => this.draw());
  };

  /** Parts are to be drawn in the frame that comes anyway, or that is being drawn. */
  touch(...parts: Part[]): void {
    for (const part of parts) this.dirty[part] = true;
  }

  /** A frame has come: what changes from now on is for the next one. */
  begin(): void {
    this.frame = 0;
  }

  /** What is to be drawn, and then no longer is. */
  take(): Record<Part, boolean> {
    const { dirty } = this;
    this.dirty = every(false);
    return dirty;
  }

  end(): void {
    cancelAnimationFrame(this.frame);
  }
}
