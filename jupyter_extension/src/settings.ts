// The user's settings, with what holds before they are read.

import type { ISettingRegistry } from "@jupyterlab/settingregistry";
import { Signal } from "@lumino/signaling";

export const PLUGIN = "jupyter-durable:plugin";

export class Preferences {
  readonly changed = new Signal<this, void>(this);
  autoResume = false;
  notice = true;
  badges = true;
  panel = true;
  browserNotification = false;
  capture: string[] = ["tools", "models", "http", "mcp"];

  async read(registry: ISettingRegistry): Promise<void> {
    const settings = await registry.load(PLUGIN);
    const take = (): void => {
      const all = settings.composite as Record<string, unknown>;
      for (const name of ["autoResume", "notice", "badges", "panel", "browserNotification"] as const) {
        if (typeof all[name] === "boolean") this[name] = all[name];
      }
      if (Array.isArray(all.capture))
        this.capture = all.capture.filter((one): one is string => typeof one === "string");
      this.changed.emit();
    };
    settings.changed.connect(take);
    take();
  }
}
