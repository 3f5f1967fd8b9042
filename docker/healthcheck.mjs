// Exit code 0 when the gateway of this container is alive. Its certificate is not for 127.0.0.1, so it is not checked.
import http from "node:http";
import https from "node:https";

const { CROSSCHECK_PORT: port = "8000", CROSSCHECK_TLS_CERT: certificate } = process.env;
const options = {
  host: "127.0.0.1",
  port,
  path: "/v2/health/live",
  timeout: 3000,
  rejectUnauthorized: false,
};
const request = (certificate ? https : http).get(options, (response) => {
  process.exit(response.statusCode === 200 ? 0 : 1);
});
request.on("timeout", () => request.destroy(new Error("no answer in 3 s")));
request.on("error", (error) => {
  console.error(`not alive: ${error.message}`);
  process.exit(1);
});
