// The timeline where it is displayed: a MIME renderer for cells' outputs, and a tab of its own.

import { MainAreaWidget } from "@jupyterlab/apputils";
import type { IRenderMime } from "@jupyterlab/rendermime-interfaces";
import type { TranslationBundle } from "@jupyterlab/translation";
import { Widget } from "@lumino/widgets";

import type { Live } from "./live.js";
import type { View } from "./timeline.js";
import type { Page } from "./types.js";
import { MIME } from "./types.js";

const RUN = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const load = (): Promise<typeof import("./timeline.js")> => import("./timeline.js");

/**
 * A page in an output. It is drawn as it was saved; once it is in sight and the server knows the run, it is the run
 * itself, with buttons that reach it whether or not a kernel is there. Only what the server tells has buttons: a
 * notebook of somebody else's may say anything.
 */
class Rendered extends Widget implements IRenderMime.IRenderer {
  private page: Page | null = null;
  private view: View | null = null;
  private tell: ((page: Page) => void) | null = null;
  private following = false;
  private lost = false;
  private seen = false;
  private sight: IntersectionObserver | null = null;

  constructor(private readonly live: Live) {
    super();
    this.addClass("jp-durable-rendered");
    live.reached.connect(this.update, this);
  }

  async renderModel(model: IRenderMime.IMimeModel): Promise<void> {
    const page = model.data[MIME] as unknown as Page | undefined;
    if (!page?.run || page.v !== 1) return;
    const other = this.page !== null && this.page.run.id !== page.run.id;
    this.page = page;
    if (other) this.end();
    if (!this.following || !this.live.there) {
      if (this.tell) this.tell(page);
      else await this.draw();
    }
    this.follow();
  }

  override dispose(): void {
    if (this.isDisposed) return;
    this.live.reached.disconnect(this.update, this);
    this.sight?.disconnect();
    this.end();
    super.dispose();
  }

  protected override onAfterAttach(): void {
    this.sight = new IntersectionObserver((entries) => {
      this.seen = this.seen || entries.some((entry) => entry.isIntersecting);
      if (this.seen) this.follow();
    });
    this.sight.observe(this.node);
  }

  protected override onBeforeDetach(): void {
    this.sight?.disconnect();
  }

  protected override onUpdateRequest(): void {
    this.follow();
  }

  /** Draw what was saved. */
  private async draw(): Promise<void> {
    const { mount } = await load();
    const page = this.page;
    if (this.isDisposed || this.view || !page) return;
    this.view = mount(this.node, {
      subscribe: (tell) => {
        this.tell = tell;
        tell(page);
        return () => (this.tell = null);
      },
      command: (id, args) => this.live.command(id, args),
    });
  }

  /** Draw what the server tells, once it has. */
  private follow(): void {
    const run = this.page?.run.id ?? "";
    if (this.following || this.lost || !this.seen || !this.live.there || !RUN.test(run)) return;
    this.following = true;
    const stop = this.live.channel.follow(run, {
      page: (page) => {
        stop();
        void this.become(run, page);
      },
      lost: () => {
        this.lost = true;
        this.following = false;
      },
    });
  }

  private async become(run: string, first: Page): Promise<void> {
    const { mount } = await load();
    if (this.isDisposed || this.page?.run.id !== run) return;
    const top = this.node.querySelector("*");
    this.view?.dispose();
    top?.remove();
    this.tell = null;
    this.view = mount(this.node, this.live.source(run, first.more ? undefined : first));
  }

  private end(): void {
    this.view?.dispose();
    this.view = null;
    this.tell = null;
    this.following = this.lost = false;
  }
}

/** What makes renderers of our type, before HTML where both are there. */
export function factory(live: Live): IRenderMime.IRendererFactory {
  return {
    safe: true,
    mimeTypes: [MIME],
    defaultRank: 40,
    createRenderer: () => new Rendered(live),
  };
}

/** A run's timeline as a document of its own. */
export function tab(live: Live, run: string, name: string, trans: TranslationBundle): MainAreaWidget {
  const content = new Widget();
  content.addClass("jp-durable-tab");
  content.node.tabIndex = -1;
  const note = document.createElement("p");
  note.className = "jp-durable-note";
  const place = document.createElement("div");
  content.node.append(place, note);
  let view: View | null = null;
  void load().then(({ mount }) => {
    if (content.isDisposed) return;
    view = mount(
      place,
      live.source(run, undefined, (message) => (note.textContent = message)),
    );
  });
  content.disposed.connect(() => view?.dispose());
  const widget = new MainAreaWidget({ content });
  widget.id = `jupyter-durable-${run}`;
  widget.title.label = name;
  widget.title.caption = trans.__("The timeline of the run %1 (%2)", name, run);
  widget.title.closable = true;
  widget.toolbar.hide();
  return widget;
}
