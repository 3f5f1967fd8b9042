/** Bodies that broke other servers, or could; each must be refused as invalid, without much memory or time. */
export const nastyBodies: Record<string, { body: () => Buffer; headerLength?: number }> = {
  "a million open brackets": { body: () => Buffer.alloc(1_000_000, "[") },
  "a million open objects": { body: () => Buffer.from('{"a":'.repeat(1_000_000)) },
  "inputs nested a hundred thousand deep": {
    body: () => Buffer.from(`{"inputs":${"[".repeat(100_000)}${"]".repeat(100_000)}}`),
  },
  "data nested a hundred thousand deep": {
    body: () => input(`"shape":[1,2],"datatype":"FP32","data":${"[".repeat(100_000)}1${"]".repeat(100_000)}`),
  },
  "deep nesting beside a value beyond 2^53": {
    body: () =>
      Buffer.from(
        `{"inputs":[{"name":"n","shape":[2],"datatype":"INT64","data":[9007199254740993,1]}],` +
          `"x":${"[".repeat(100_000)}${"]".repeat(100_000)}}`,
      ),
  },
  "a shape of a billion elements with one given": {
    body: () => input('"shape":[500000000,2],"datatype":"FP32","data":[1]'),
  },
  "a nested shape of a billion elements": {
    body: () => input('"shape":[500000000,2],"datatype":"FP32","data":[[1,2]]'),
  },
  "a shape whose product is 2^64": {
    body: () => input('"shape":[4294967296,4294967296],"datatype":"FP32","data":[]'),
  },
  "a shape whose product overflows to 2 in 64 bits": {
    body: () => input('"shape":[9223372036854775809,2],"datatype":"FP32","data":[1,2]'),
  },
  "a binary size of 2^53": {
    body: () => input('"shape":[1,2],"datatype":"FP32","parameters":{"binary_data_size":9007199254740992}'),
  },
  "a number of a million digits": {
    body: () => input(`"shape":[1,2],"datatype":"FP32","data":[${"9".repeat(1_000_000)},1]`),
  },
  "an exponent of a thousand digits": {
    body: () => input(`"shape":[1,2],"datatype":"FP32","data":[1e${"9".repeat(1000)},1]`),
  },
  "a string instead of numbers": { body: () => input('"shape":[1,2],"datatype":"FP32","data":"AAAA"') },
  "__proto__ as a tensor": {
    body: () => Buffer.from('{"__proto__":{"inputs":[]},"inputs":[{"__proto__":{"name":"a"}}]}'),
  },
  "__proto__ as the name": {
    body: () => Buffer.from('{"inputs":[{"name":"__proto__","shape":[1],"datatype":"FP32","data":[1]}]}'),
  },
  "ten thousand inputs": {
    body: () =>
      Buffer.from(
        `{"inputs":[${Array(10_000).fill('{"name":"a","shape":[1,2],"datatype":"FP32","data":[1,2]}').join(",")}]}`,
      ),
  },
  "a byte order mark": { body: () => Buffer.from("\uFEFF{}") },
  "UTF-16": { body: () => Buffer.from("{}", "utf16le") },
  "a lone surrogate half": { body: () => Buffer.from([0x7b, 0x22, 0xed, 0xa0, 0x80, 0x22, 0x7d]) },
  "nul bytes": { body: () => Buffer.alloc(1000) },
  "a header length one short": { body: () => Buffer.from('{"inputs":[]}'), headerLength: 12 },
  "a header length beyond the body": { body: () => Buffer.from("{}"), headerLength: 999_999_999_999_999 },
  "two JSON values": { body: () => Buffer.from('{"inputs":[]}{"inputs":[]}') },
  "a comment": { body: () => Buffer.from('{"inputs":[]/* none */}') },
  "a hexadecimal number": { body: () => input('"shape":[1,2],"datatype":"FP32","data":[0x1,1]') },
  "a name of a megabyte": {
    body: () =>
      Buffer.from(
        `{"inputs":[{"name":"${"x".repeat(1_000_000)}","shape":[1],"datatype":"FP32","data":[1]}]}`,
      ),
  },
  "a dimension of -0.5": { body: () => input('"shape":[1,-0.5],"datatype":"FP32","data":[1,2]') },
};

function input(rest: string): Buffer {
  return Buffer.from(`{"inputs":[{"name":"a",${rest}}]}`);
}
