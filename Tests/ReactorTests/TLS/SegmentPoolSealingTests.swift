import Bytes
import TestSupport
import Testing

@testable import Reactor

private let folder = PEMFolder()

private func pair() throws -> (TLSServer, TLSClient) {
    let server = TLSServer(try TLSCredentials(folder.files))
    let client = TLSClient(.tls13)
    exchange(server, client)
    return (server, client)
}

/// Lengths of the records that stand in `bytes`, without their headers.
private func records(_ bytes: [UInt8]) -> [Int] {
    var lengths: [Int] = []
    var place = 0
    while place + 5 <= bytes.count {
        let length = Int(bytes[place + 3]) << 8 | Int(bytes[place + 4])
        lengths.append(length)
        place += 5 + length
    }
    return place == bytes.count ? lengths : []
}

@Suite struct SegmentPoolSealingTests {
    @Test func `What a turn wrote in pieces becomes one record and one send`() throws {
        let (server, client) = try pair()
        for count in [10, 200, 3000, 4096, 900] { server.send([UInt8](repeating: 1, count: count)) }
        let bytes = try #require(server.takeSend())
        #expect(records(bytes) == [8206 + 17])
        client.receive(bytes)
        #expect(client.plaintext.count == 8206)
    }

    @Test func `The byte count is plaintext and records together`() throws {
        let (server, _) = try pair()
        server.send([UInt8](repeating: 1, count: 1000))
        #expect(server.queue.byteCount == 1000 && server.session.sealedBytes == 0)
        #expect(server.takeSend(bytesMax: 22)?.count == 22)
        #expect(server.queue.byteCount == 1000 && server.session.sealedBytes == 1000)
        server.send([UInt8](repeating: 1, count: 500))
        #expect(server.queue.byteCount == 1500 && server.session.sealedBytes == 1000)
        #expect(server.takeAll().count == 1522 && server.queue.isEmpty)
    }

    @Test func `A peer that does not read holds few records, and the rest as it was`() throws {
        let (server, client) = try pair()
        let block = ByteBlock(Array(repeating: 9, count: 1 << 20))
        server.send(block)
        for _ in 0..<200 {
            #expect(server.takeSend(bytesMax: 1)?.count == 1)
            #expect(server.session.sealedBytes <= 65_536 + 16_384 + 22)
        }
        #expect(server.segments.chunkCount <= 22, "no more is encrypted than is read")
        #expect(server.queue.byteCount >= (1 << 20) - 200)
        _ = client
    }

    @Test func `The last send ends with close_notify, when all has become records`() throws {
        let (server, client) = try pair()
        server.send(ByteBlock(Array(repeating: 9, count: 200_000)))
        client.receive(try #require(server.takeSend(isLast: true)))
        #expect(!client.isClosed && server.session.state == .established)
        client.receive(server.takeAll(isLast: true))
        #expect(client.isClosed && client.plaintext.count == 200_000)
        #expect(server.session.state == .leaving)
        server.send([1])
        #expect(server.takeAll().isEmpty && server.queue.isEmpty, "nothing follows close_notify")
    }

    @Test func `close_notify is said once, and not before a handshake`() throws {
        let (server, client) = try pair()
        server.segments.leave(&server.queue, server.session)
        server.segments.leave(&server.queue, server.session)
        let bytes = server.takeAll()
        #expect(records(bytes) == [19])
        client.receive(bytes)
        #expect(client.isClosed)
        server.newSession()
        server.segments.leave(&server.queue, server.session)
        #expect(server.queue.isEmpty && server.session.state == .silent)
    }

    @Test func `Plaintext that comes before the handshake's end waits for it`() throws {
        let server = TLSServer(try TLSCredentials(folder.files))
        let client = TLSClient(.tls13)
        server.send([1, 2, 3])
        #expect(server.takeSend()?.isEmpty == true)
        exchange(server, client)
        #expect(client.plaintext == [1, 2, 3] && server.queue.isEmpty)
    }

    @Test func `Dropping a session gives its chunks back`() throws {
        let (server, _) = try pair()
        server.send([UInt8](repeating: 1, count: 50_000))
        #expect(server.takeSend(bytesMax: 1)?.count == 1)
        let made = server.segments.chunkCount
        server.newSession()
        #expect(server.queue.isEmpty)
        var other = SendQueue()
        server.segments.append([UInt8](repeating: 1, count: 50_000).raw, to: &other)
        #expect(server.segments.chunkCount == made)
        server.segments.clear(&other)
    }
}
