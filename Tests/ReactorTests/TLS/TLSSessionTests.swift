import Bytes
import TestSupport
import Testing

@testable import Reactor

private let folder = PEMFolder()

private func server(isMutual: Bool = false) throws -> TLSServer {
    TLSServer(try TLSCredentials(isMutual ? folder.mutualFiles : folder.files))
}

private func numbered(_ count: Int) -> [UInt8] {
    (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ $0 >> 8) }
}

private let request = Array("GET /health HTTP/1.1\r\nHost: test\r\n\r\n".utf8)

@Suite struct TLSSessionTests {
    @Test(arguments: TLSClient.Version.allCases)
    func `Bytes pass both ways, and close_notify ends each`(_ version: TLSClient.Version) throws {
        let server = try server()
        let client = TLSClient(version)
        exchange(server, client)
        #expect(server.session.state == .established && client.isEstablished)
        #expect(server.establishments == 1)
        #expect(client.send(request))
        exchange(server, client)
        #expect(server.plaintext == request)
        server.send(numbered(3000))
        exchange(server, client)
        #expect(client.plaintext == numbered(3000))
        client.close()
        exchange(server, client)
        #expect(server.ends == [.closed] && server.session.peerHasClosed)
        server.send([7])
        client.receive(server.takeAll(isLast: true))
        #expect(client.plaintext.last == 7, "what is owed is still sent after the peer's end")
        #expect(client.isClosed && server.session.state == .leaving)
    }

    @Test(arguments: TLSClient.Version.allCases)
    func `A handshake, a request and an end may come split anywhere`(
        _ version: TLSClient.Version
    ) throws {
        let server = try server()
        /// Runs a connection whose flights come in the pieces that `split` makes of them; returns
        /// their lengths.
        func run(_ split: (_ flight: Int, _ bytes: [UInt8]) -> [[UInt8]]) -> [Int] {
            server.newSession()
            let client = TLSClient(version)
            var lengths: [Int] = []
            var flight = client.take()
            while !flight.isEmpty {
                for piece in split(lengths.count, flight) {
                    server.receive(piece)
                    client.receive(server.takeAll())
                }
                lengths.append(flight.count)
                if client.isEstablished, lengths.count == 2, client.send(request) {
                    client.close()
                }
                flight = client.take()
            }
            #expect(server.plaintext == request)
            #expect(server.ends == [.closed] && server.establishments == 1)
            return lengths
        }
        let lengths = run { [$1] }
        #expect(lengths.count == 3, "hello, finished, and what follows")
        for (number, length) in lengths.enumerated() {
            for cut in 1..<length {
                // Signatures vary in length by a byte or two.
                _ = run { flight, bytes in
                    guard flight == number, cut < bytes.count else { return [bytes] }
                    return [Array(bytes[..<cut]), Array(bytes[cut...])]
                }
            }
        }
        _ = run { $1.map { [$0] } }
    }

    @Test(arguments: TLSClient.Version.allCases)
    func `Whatever the sizes of writes, receives and sends, all bytes arrive in order`(
        _ version: TLSClient.Version
    ) throws {
        var chance = Seeded.fromEnvironment(or: 11)
        let server = try server()
        let client = TLSClient(version)
        exchange(server, client)
        var asked: [UInt8] = []
        var answered: [UInt8] = []
        for _ in 0..<60 {
            let up = chance.bytes(1 + chance.below(chance.below(4) == 0 ? 16_384 : 200))
            #expect(client.send(up))
            asked += up
            for _ in 0..<chance.below(4) {
                let down = chance.bytes(1 + chance.below(chance.below(3) == 0 ? 90_000 : 700))
                if chance.below(2) == 0 { server.send(down) } else { server.send(ByteBlock(down)) }
                answered += down
            }
            var arriving = client.take()[...]
            while !arriving.isEmpty {
                let piece = arriving.prefix(1 + chance.below(9000))
                server.receive(Array(piece))
                arriving = arriving.dropFirst(piece.count)
            }
            for _ in 0..<chance.below(6) where !server.queue.isEmpty {
                client.receive(try #require(server.takeSend(bytesMax: 1 + chance.below(40_000))))
            }
        }
        exchange(server, client)
        #expect(server.plaintext == asked, "seed \(chance.seed)")
        #expect(client.plaintext == answered, "seed \(chance.seed)")
        #expect(server.queue.isEmpty && server.session.sealedBytes == 0)
    }

    @Test func `A resumed session works on another core, with the keys of the same context`()
        throws
    {
        let credentials = try TLSCredentials(folder.files)
        for version in TLSClient.Version.allCases {
            let first = TLSServer(credentials)
            let second = TLSServer(credentials)
            let earlier = TLSClient(version)
            exchange(first, earlier)
            #expect(!first.session.isResumed)
            let later = TLSClient(version, resuming: earlier)
            exchange(second, later)
            #expect(later.isResumed && second.session.isResumed)
            #expect(later.send(request))
            exchange(second, later)
            #expect(second.plaintext == request)
        }
    }

    @Test func `A ticket from before a reload leads to a whole handshake`() throws {
        let credentials = try TLSCredentials(folder.files)
        let server = TLSServer(credentials)
        for version in TLSClient.Version.allCases {
            server.newSession()
            let earlier = TLSClient(version)
            exchange(server, earlier)
            try credentials.reload()
            // The one that is open goes on under what it began with.
            #expect(earlier.send(request))
            exchange(server, earlier)
            #expect(server.plaintext == request)
            server.newSession()
            let later = TLSClient(version, resuming: earlier)
            exchange(server, later)
            #expect(server.session.state == .established && !later.isResumed)
        }
    }
}

@Suite struct TLSNegotiationTests {
    @Test(arguments: TLSClient.Version.allCases)
    func `http/1.1 is chosen wherever it stands, and none is chosen where none is offered`(
        _ version: TLSClient.Version
    ) throws {
        for offer in [["http/1.1"], ["h2", "http/1.1"], ["http/1.1", "h2"], []] {
            let server = try server()
            let client = TLSClient(version, alpn: offer)
            exchange(server, client)
            #expect(server.session.state == .established)
            #expect(client.choseHTTP == !offer.isEmpty)
        }
    }

    @Test(arguments: TLSClient.Version.allCases)
    func `Who offers only other protocols gets no_application_protocol`(
        _ version: TLSClient.Version
    ) throws {
        for offer in [["h2"], ["http/1.0", "h3"], ["http/1.10"], ["http/1."], ["HTTP/1.1"]] {
            let server = try server()
            let client = TLSClient(version, alpn: offer)
            exchange(server, client)
            #expect(server.ends == [.failed] && server.session.state == .failed)
            #expect(client.alert == 120)
            #expect(server.engine.lastReason.contains("protocol"))
        }
    }

    @Test(arguments: TLSClient.Version.allCases)
    func `With client authorities, theirs get in and nobody else`(
        _ version: TLSClient.Version
    ) throws {
        let stranger = TLSIdentity("stranger", issuer: TLSIdentity("another authority"))
        let friend = TLSIdentity("friend", issuer: folder.authority)
        let cases: [(TLSIdentity?, isWelcome: Bool)] = [
            (friend, true), (stranger, false), (nil, false), (TLSIdentity("self"), false),
        ]
        for (identity, isWelcome) in cases {
            let server = try server(isMutual: true)
            let client = TLSClient(version, identity: identity)
            exchange(server, client)
            #expect((server.session.state == .established) == isWelcome)
            #expect(server.establishments == (isWelcome ? 1 : 0))
            #expect(server.ends == (isWelcome ? [] : [.failed]))
            #expect((client.alert == -1) == isWelcome)
        }
    }

    @Test func `A resumed session needs no second look at the client's certificate`() throws {
        let server = try server(isMutual: true)
        let friend = TLSIdentity("friend", issuer: folder.authority)
        for version in TLSClient.Version.allCases {
            server.newSession()
            let earlier = TLSClient(version, identity: friend)
            exchange(server, earlier)
            server.newSession()
            let later = TLSClient(version, identity: friend, resuming: earlier)
            exchange(server, later)
            #expect(later.isResumed && server.session.state == .established)
        }
    }

    @Test func `Renegotiation is refused`() throws {
        let server = try server()
        let client = TLSClient(.tls12)
        exchange(server, client)
        client.renegotiate()
        exchange(server, client)
        // 100 is no_renegotiation, a warning: the connection may go on under the old keys.
        #expect(client.alert == 100 || server.ends == [.failed])
        #expect(server.establishments == 1)
    }
}

@Suite struct TLSHostilityTests {
    @Test func `What is no TLS at all fails at once`() throws {
        let garbage: [[UInt8]] = [
            Array("SSH-2.0-OpenSSH_9\r\n".utf8), [UInt8](repeating: 0, count: 100),
            [UInt8](repeating: 0xFF, count: 5), numbered(16_384), Array("PRI * HTTP/2.0\r\n".utf8),
            // A record that is too long, one with an unknown version.
            [0x16, 3, 1, 0xFF, 0xFF] + numbered(300), [0x16, 9, 9, 0, 1, 0],
            // Application data before any handshake.
            [0x17, 3, 3, 0, 4, 1, 2, 3, 4],
        ]
        for bytes in garbage {
            let server = try server()
            server.receive(bytes)
            #expect(server.ends.first == .failed, "\(bytes.prefix(8))")
            #expect(server.plaintext.isEmpty && server.establishments == 0)
            // The alert, if there is one, is all that is sent, and nothing follows it.
            #expect(server.takeAll().count <= 7)
            server.send(request)
            #expect(server.takeAll().isEmpty && server.queue.isEmpty)
            server.receive(bytes)
            #expect(server.ends == [.failed], "an end is said once")
        }
    }

    @Test func `A request in plain text is known as such, byte by byte too`() throws {
        for method in ["GET ", "POST ", "HEAD ", "PUT "] {
            let bytes = Array("\(method)/ HTTP/1.1\r\nHost: test\r\n\r\n".utf8)
            let server = try server()
            server.receive(bytes)
            #expect(server.ends == [.plainHTTP] && server.queue.isEmpty)
            server.newSession()
            for byte in bytes.prefix(5) { server.receive([byte]) }
            #expect(server.ends == [.plainHTTP] && server.queue.isEmpty)
        }
    }

    @Test(arguments: TLSClient.Version.allCases)
    func `A byte that was changed on the way ends the session`(_ version: TLSClient.Version) throws
    {
        let server = try server()
        for place in [0, 1, 4, 5, 20, 40] {
            server.newSession()
            let client = TLSClient(version)
            exchange(server, client)
            #expect(client.send(request))
            var bytes = client.take()
            bytes[place] ^= 0x40
            server.receive(bytes + [UInt8](repeating: 0, count: 20_000))
            #expect(server.ends.first == .failed && server.plaintext.isEmpty)
            #expect(server.session.state == .failed)
        }
    }

    @Test func `Changing any byte of a ClientHello establishes nothing and breaks nothing`() throws
    {
        let server = try server()
        let hello = TLSClient(.tls13).take()
        for place in hello.indices {
            server.newSession()
            var bytes = hello
            bytes[place] = ~bytes[place]
            server.receive(bytes)
            #expect(server.establishments == 0 && server.plaintext.isEmpty)
        }
    }

    @Test func `Random bytes behind a handshake's header break nothing`() throws {
        var chance = Seeded.fromEnvironment(or: 5)
        let server = try server()
        for _ in 0..<300 {
            server.newSession()
            let count = 4 + chance.below(400)
            let record = [0x16, 3, 1, UInt8(count >> 8), UInt8(count & 0xFF)]
            let head = [1, 0, UInt8((count - 4) >> 8), UInt8((count - 4) & 0xFF)]
            server.receive(record + head + chance.bytes(count - 4))
            #expect(server.establishments == 0, "seed \(chance.seed)")
        }
    }

    @Test func `Key updates are answered, and the keys stay in step`() throws {
        let server = try server()
        let client = TLSClient(.tls13)
        exchange(server, client)
        for _ in 0..<40 {
            #expect(client.updateKeys())
            server.receive(client.take())
        }
        #expect(server.session.sealedBytes == server.queue.byteCount)
        #expect(server.session.sealedBytes > 0)
        #expect(client.send(request))
        exchange(server, client)
        #expect(server.plaintext == request)
    }

    @Test func `Who asks for key updates without end is sent away, whether it reads or not`() throws
    {
        let server = try server()
        for reads in [true, false] {
            server.newSession()
            let client = TLSClient(.tls13)
            exchange(server, client)
            var updates = 0
            while server.ends.isEmpty, updates < 1000, client.updateKeys() {
                server.receive(client.take())
                if reads { client.receive(server.takeAll()) }
                updates += 1
            }
            #expect(server.ends == [.failed] && updates > 100 && updates < 400)
            #expect(server.session.sealedBytes < 10_000)
        }
    }
}
