import Bytes
import CLinux

/// The address of the other end of a connection: 16 bytes, IPv4 mapped into IPv6.
public struct PeerAddress: Sendable {
    public let bytes: ByteBlock

    /// nil when the peer is gone.
    public init?(_ descriptor: Int32) {
        var address = InlineArray<16, UInt8>(repeating: 0)
        guard Self.read(descriptor, into: &address) else { return nil }
        let span = address.span
        self.init(unsafe span.bytes)
    }

    init(_ span: RawSpan) {
        precondition(span.byteCount == 16, "an address has 16 bytes")
        bytes = ByteBlock(copying: span)
    }

    /// Of who can be told apart: one IPv4 address, or a network of 64 bits, which is what one
    /// customer of IPv6 is given (RFC 6177).
    public var network: RawSpan {
        @_lifetime(borrow self) get {
            let isIPv4 = bytes.bytes.load64(at: 0) == 0 && bytes.bytes.load32(at: 8) == 0xFFFF_0000
            return bytes.bytes.extracting(0..<(isIPv4 ? 16 : 8))
        }
    }

    public func hash(seed: UInt64) -> UInt64 { network.hash(seed: seed) }

    /// Zeros, and false, when the peer is gone.
    @discardableResult
    public static func read(_ descriptor: Int32, into address: inout InlineArray<16, UInt8>) -> Bool
    {
        var span = address.mutableSpan
        return unsafe span.withUnsafeMutableBufferPointer { bytes in
            // Safety: the array has the 16 bytes that are written.
            unsafe cl_peer_address(descriptor, bytes.baseAddress.unsafelyUnwrapped) == 0
        }
    }
}
