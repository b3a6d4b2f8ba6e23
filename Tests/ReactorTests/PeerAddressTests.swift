import Bytes
import CLinux
import Glibc
import Testing

@testable import Reactor

private func network(_ bytes: [UInt8]) -> [UInt8] {
    let block = ByteBlock(bytes)
    return PeerAddress(block.bytes).network.array()
}

@Suite struct PeerAddressTests {
    private let mapped: [UInt8] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF, 127, 0, 0, 1]

    @Test func `An address of IPv4 stands for itself`() {
        #expect(network(mapped) == mapped)
    }

    @Test func `An address of IPv6 stands for its network of 64 bits`() {
        let address: [UInt8] = [0x20, 1, 0xD, 0xB8, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]
        #expect(network(address) == Array(address.prefix(8)))
        #expect(network([UInt8](repeating: 0, count: 15) + [1]).count == 8, "::1 is not mapped")
    }

    @Test func `Who is connected has an address, and who is not has none`() {
        let listener = unsafe cl_listen("127.0.0.1", 0, 1)
        defer { Glibc.close(listener) }
        #expect(PeerAddress(listener) == nil)
        #expect(PeerAddress(-1) == nil)
        let client = Glibc.socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer { Glibc.close(client) }
        var address = sockaddr_in(
            sin_family: sa_family_t(AF_INET),
            sin_port: in_port_t(cl_local_port(listener)).bigEndian,
            sin_addr: in_addr(s_addr: UInt32(0x7F00_0001).bigEndian),
            sin_zero: (0, 0, 0, 0, 0, 0, 0, 0))
        let result = unsafe withUnsafePointer(to: &address) { pointer in
            unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                unsafe connect(client, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        #expect(result == 0)
        let peer = PeerAddress(client)?.bytes
        let bytes = peer.map { $0.bytes.array() }
        #expect(bytes == mapped)
    }
}
