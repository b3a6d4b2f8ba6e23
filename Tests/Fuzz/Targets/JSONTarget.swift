// JSON: an accepted document is UTF-8, and written anew and read again it is the same value;
// content that was accepted is accepted again as it is stored, and stays as it is.

import API
import Bytes
import ChatModel
import Wire

private nonisolated(unsafe) let parser = JSONParser(
    documentBytesMax: 1 << 17, depthMax: Limits.jsonDepthMax)
private nonisolated(unsafe) let reader = unsafe ContentReader(parser: parser)

func fuzzJSON(_ bytes: [UInt8]) {
    guard bytes.count <= 16_384 else { return }
    let parser = unsafe parser
    let block = ByteBlock(bytes)
    guard parser.parse(block.bytes) else { return }
    expect(UTF8Validator.isValid(block.bytes), "a document is accepted that is not UTF-8")
    let root = JSONParser.root
    let (hash, repeats) = (parser.hash(root), parser.hasDuplicateKeys(root))
    let written = rewritten(parser)
    var faults = FaultList()
    let content = unsafe reader.read(root, at: "", &faults)
    expect((content == nil) == !faults.isEmpty, "content is refused without a fault, or taken with")

    expect(parser.parse(written.bytes), "a document that was written anew is not accepted")
    expect(parser.hash(root) == hash, "a document that was written anew has another value")
    expect(parser.hasDuplicateKeys(root) == repeats, "a repeated key comes or goes")
    expect(rewritten(parser).equals(written), "a document that was written twice differs")

    guard let content else { return }
    expect(!repeats, "content names a field twice")
    let json = content.json
    expect(json.equals(written), "content is stored as something else than its value")
    var others = FaultList()
    guard let again = unsafe reader.read(root, at: "", &others) else {
        preconditionFailure("stored content is refused")
    }
    expect(again.type == content.type, "stored content has another type")
    expect(again.hash == content.hash, "stored content has another hash")
    expect(again.text.equals(content.text), "stored content has another text")
}

private func rewritten(_ parser: JSONParser) -> ByteBlock {
    let writer = ByteWriter(capacity: 256)
    parser.write(JSONParser.root, into: writer)
    return writer.block()
}
