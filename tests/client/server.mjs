// Starts the program as a server on a free port, for tests.

import { spawn } from "node:child_process";

export const startServer = (...flags) =>
  startProgram("serve", "--port", "0", "--access-log", "none", ...flags);

// The arguments are those of `tandem`, and have it listen on the loopback address.
export async function startProgram(...args) {
  const program = process.env.TANDEM_PROGRAM;
  if (!program) throw new Error("TANDEM_PROGRAM names no program");
  const child = spawn(program, args, { stdio: ["ignore", "ignore", "pipe"] });
  let text = "";
  const port = await new Promise((resolve, reject) => {
    child.stderr.on("data", (data) => {
      text += data;
      const found = text.match(/ on https?:\/\/127\.0\.0\.1:(\d+)/);
      if (found) resolve(Number(found[1]));
    });
    child.on("exit", () => reject(new Error(`the server ended: ${text}`)));
  });
  const stop = (signal = "SIGTERM") => new Promise((resolve) => {
    child.removeAllListeners("exit");
    child.on("exit", (code) => resolve(code));
    child.kill(signal);
  });
  return { port, url: `http://127.0.0.1:${port}`, stop };
}
