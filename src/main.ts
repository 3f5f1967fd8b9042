import { main } from "./cli/main.ts";

export { main };
