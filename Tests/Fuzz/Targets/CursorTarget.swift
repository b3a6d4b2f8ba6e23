// Cursors: what is accepted is exactly what we would have written, and what we write is accepted as
// what it was. And the queries that they come in: no value gets past its bounds.

import API
import Bytes
import ChatModel
import Stores

func fuzzCursors(_ bytes: [UInt8]) {
    var input = FuzzInput(bytes)
    let text = ByteBlock(bytes)
    let writer = ByteWriter(capacity: 64)
    if let found = Cursor.seq(text.bytes) {
        Cursor.write(seq: found.seq, found.order, found.direction, into: writer)
        expect(writer.bytes.equals(text.bytes), "a cursor of a log has a second spelling")
    }
    if let found = Cursor.id(text.bytes) {
        writer.removeAll()
        Cursor.write(id: found.id, found.order, found.direction, into: writer)
        expect(writer.bytes.equals(text.bytes), "a cursor of a list has a second spelling")
        expect(Cursor.seq(text.bytes) == nil, "a cursor is of a list and of a log")
    }
    writeAndRead(&input)
    readQuery(text)
}

private func writeAndRead(_ input: inout FuzzInput) {
    let order: PageOrder = input.choice(of: 2) == 0 ? .ascending : .descending
    let direction: PageDirection = input.choice(of: 2) == 0 ? .forward : .backward
    let seq = input.word() & UInt64(Int64.max)
    let writer = ByteWriter(capacity: 64)
    Cursor.write(seq: seq, order, direction, into: writer)
    let place = Cursor.seq(writer.bytes)
    expect(place?.seq == seq, "a seq is not what it was")
    expect(place?.order == order && place?.direction == direction, "a way is not what it was")
    let id = Identifier(high: input.word(), low: input.word())
    writer.removeAll()
    Cursor.write(id: id, order, direction, into: writer)
    let row = Cursor.id(writer.bytes)
    expect(row?.id == id, "an id is not what it was")
    expect(row?.order == order && row?.direction == direction, "a way is not what it was")
    writer.removeAll()
    id.write(.conversation, into: writer)
    expect(Identifier(writer.bytes, kind: .conversation) == id, "an id is not what it was")
}

private func readQuery(_ text: ByteBlock) {
    let scratch = ByteWriter(capacity: 64)
    let range = ByteRange(0, text.count)
    guard let query = try? PageQuery(text.bytes, range, scratch: scratch) else { return }
    expect((1...Limits.pageMax).contains(query.limit), "a page has no such size")
    let scope = Scope(
        tenant: TenantIndex(0), tenantName: ByteBlock("acme"), userID: query.userID)
    let origin = Origin(core: 0, isSocket: false, token: .none, ordinal: 0)
    let id = Identifier(high: 1, low: 2)
    if let page = try? query.history(id, scope, origin) {
        expect(page.afterSeq ?? 0 <= UInt64(Int64.max), "a seq is larger than the store has")
        expect(page.limit == query.limit, "a page has another size")
    }
    _ = try? query.list(scope, origin)
}
