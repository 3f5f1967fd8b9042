// A gateway that promotes one engine and quarantines another, and tells of each decision, until it is killed.
import { openScene } from "./_gateway.ts";

const [, , folder = ""] = process.argv;
// Whoever listens may have heard enough.
process.stdout.on("error", () => {});
const scene = await openScene(folder);
const { switching } = scene.services;
// Lifts the quarantine of the life before, and leaves the good one active.
for (const id of ["bad", "good"]) await switching?.switch("m", id, "begin anew", "decider");
let told = (await scene.decisions()).length;
setInterval(() => {
  void scene.decisions().then((entries) => {
    for (const { type, trigger } of entries.slice(told)) process.stdout.write(`${type}:${trigger}\n`);
    told = entries.length;
  });
}, 5);
for (;;) {
  await scene.infer("m");
  await new Promise((resolve) => setTimeout(resolve, 5));
}
