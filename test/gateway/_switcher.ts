// A gateway that switches to and fro until it is killed.
import { openScene } from "./_gateway.ts";

const [, , folder = ""] = process.argv;
// Hosts do not hold the process.
setInterval(() => {}, 1000);
const scene = await openScene(folder);
for (let i = 0; ; i++) {
  await scene.services.switching?.switch(
    "m",
    (await scene.active("m")) === "a" ? "b" : "a",
    `switch ${i}`,
    "switcher",
  );
  if (i === 3) process.stdout.write("switching\n");
}
