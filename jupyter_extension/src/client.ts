// The server extension's REST interface, through the connection that JupyterLab has.

import { URLExt } from "@jupyterlab/coreutils";
import { ServerConnection } from "@jupyterlab/services";

import type { Decision, Deleted, Detail, Fault, Forked, Page, Recorded, RunList, Rows, Status } from "./types.js";

const PREFIX = "jupyter-durable";

/** Something was refused; the message says why, and what would do. */
export class Refusal extends Error {
  constructor(
    readonly status: number,
    fault: Partial<Fault>,
  ) {
    super(fault.hint ? `${fault.message ?? ""} (${fault.hint})` : (fault.message ?? `error ${status}`));
  }
}

export class Client {
  constructor(readonly settings: ServerConnection.ISettings) {}

  /** That the extension is there; null: it is not, and everything is read-only. */
  async status(): Promise<Status | null> {
    try {
      return await this.ask<Status>("GET", "status");
    } catch {
      return null;
    }
  }

  runs(query: Record<string, string>): Promise<RunList> {
    return this.ask("GET", `runs${URLExt.objectToQueryString(query)}`);
  }

  steps(run: string, feed: string, mark: number): Promise<Page> {
    return this.ask("GET", `runs/${run}/steps${URLExt.objectToQueryString({ feed, mark: String(mark) })}`);
  }

  texts(run: string, ns: number[]): Promise<Rows> {
    return this.ask("GET", `runs/${run}/texts?n=${ns.slice(0, 200).join(",")}`);
  }

  value(run: string, step: string, what: string, offset: number): Promise<Detail> {
    return this.ask(
      "GET",
      `runs/${run}/steps/${encodeURIComponent(step)}/values/${encodeURIComponent(what)}?offset=${offset}`,
    );
  }

  decide(run: string, decision: Decision): Promise<Recorded> {
    return this.ask("POST", `runs/${run}/decisions`, decision);
  }

  cancel(run: string): Promise<Recorded> {
    return this.ask("POST", `runs/${run}/cancel`, {});
  }

  /** Another run that is based on it, from a step on. */
  fork(run: string, at: string): Promise<Forked> {
    return this.ask("POST", `runs/${run}/fork`, { at });
  }

  delete(run: string): Promise<Deleted> {
    return this.ask("DELETE", `runs/${run}`);
  }

  /** A run as a file: its name and what is in it. */
  async export(run: string, format: string): Promise<{ name: string; data: Blob }> {
    const url = URLExt.join(this.settings.baseUrl, PREFIX) + `/runs/${run}/export?format=${encodeURIComponent(format)}`;
    const response = await ServerConnection.makeRequest(url, {}, this.settings);
    if (!response.ok) throw new Refusal(response.status, (await response.json().catch(() => ({}))) as Partial<Fault>);
    const said = /filename="([^"]+)"/.exec(response.headers.get("Content-Disposition") ?? "");
    return { name: said?.[1] ?? `${run}.${format}`, data: await response.blob() };
  }

  /** The event stream, from the event `last` on. */
  socket(last: string): WebSocket {
    const { wsUrl, token, appendToken } = this.settings;
    const query: Record<string, string> = { last };
    if (appendToken && token) query.token = token;
    return new this.settings.WebSocket(URLExt.join(wsUrl, PREFIX, "events") + URLExt.objectToQueryString(query));
  }

  private async ask<T>(method: string, path: string, body?: object): Promise<T> {
    const url = URLExt.join(this.settings.baseUrl, PREFIX) + `/${path}`;
    const init: RequestInit = { method };
    if (body) {
      init.body = JSON.stringify(body);
      init.headers = { "Content-Type": "application/json" };
    }
    const response = await ServerConnection.makeRequest(url, init, this.settings);
    const data: unknown = await response.json().catch(() => ({}));
    if (!response.ok) throw new Refusal(response.status, data as Partial<Fault>);
    return data as T;
  }
}
