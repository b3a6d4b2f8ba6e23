import CLinux

/// The address of the other end of a connection.
public enum PeerAddress {
    /// 16 bytes; IPv4 is mapped into IPv6. Zeros when the peer is gone.
    public static func read(_ descriptor: Int32, into address: inout InlineArray<16, UInt8>) {
        var span = address.mutableSpan
        unsafe span.withUnsafeMutableBufferPointer { bytes in
            // Safety: the array has the 16 bytes that are written.
            _ = unsafe cl_peer_address(descriptor, bytes.baseAddress.unsafelyUnwrapped)
        }
    }
}
