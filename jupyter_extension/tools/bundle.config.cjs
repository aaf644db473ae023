// What the bundle is called inside must not depend on the directory it is built in: CI compares it.
module.exports = { optimization: { moduleIds: "natural", chunkIds: "natural" } };
