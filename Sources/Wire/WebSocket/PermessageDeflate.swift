// The negotiation of permessage-deflate (RFC 7692 section 7.1) over the value of
// Sec-WebSocket-Extensions (RFC 6455 section 9.1). Runs once a connection.
//
//     offers  = offer *( "," offer )
//     offer   = "permessage-deflate" *( ";" name [ "=" ( token / quoted-string ) ] )
//
// The first offer that can be met wins. An offer with anything unknown, doubled or malformed in it
// is declined and the next one is looked at; declining all of them leaves the socket uncompressed.

import Bytes

/// What the server asks for on top of the client's offer.
public struct DeflatePolicy: Equatable, Sendable {
    /// Drop the server's window after each message: no deflater per socket, worse compression.
    public var serverNoContextTakeover: Bool
    /// Ask the client to drop its window after each message: no inflater per idle socket.
    public var clientNoContextTakeover: Bool
    /// The largest windows to agree on, 9...15.
    public var serverMaxWindowBits: UInt8
    public var clientMaxWindowBits: UInt8

    public init(
        serverNoContextTakeover: Bool = false, clientNoContextTakeover: Bool = false,
        serverMaxWindowBits: UInt8 = 15, clientMaxWindowBits: UInt8 = 15
    ) {
        precondition((9...15).contains(serverMaxWindowBits), "zlib's raw windows are 9 to 15 bits")
        precondition((9...15).contains(clientMaxWindowBits), "zlib's raw windows are 9 to 15 bits")
        self.serverNoContextTakeover = serverNoContextTakeover
        self.clientNoContextTakeover = clientNoContextTakeover
        self.serverMaxWindowBits = serverMaxWindowBits
        self.clientMaxWindowBits = clientMaxWindowBits
    }
}

/// The agreement, as it stands in the server's response.
public struct DeflateParameters: Equatable, Sendable, BitwiseCopyable {
    public var serverNoContextTakeover: Bool
    public var clientNoContextTakeover: Bool
    /// nil: not in the response, which means 15.
    public var serverMaxWindowBits: UInt8?
    public var clientMaxWindowBits: UInt8?

    public init(
        serverNoContextTakeover: Bool = false, clientNoContextTakeover: Bool = false,
        serverMaxWindowBits: UInt8? = nil, clientMaxWindowBits: UInt8? = nil
    ) {
        self.serverNoContextTakeover = serverNoContextTakeover
        self.clientNoContextTakeover = clientNoContextTakeover
        self.serverMaxWindowBits = serverMaxWindowBits
        self.clientMaxWindowBits = clientMaxWindowBits
    }

    /// For the server's `Deflater`.
    @inlinable public var serverWindowBits: UInt8 { serverMaxWindowBits ?? 15 }
    /// For the server's `Inflater`.
    @inlinable public var clientWindowBits: UInt8 { clientMaxWindowBits ?? 15 }

    /// The agreement on the first acceptable offer in `offer`; nil when there is none. Several
    /// header lines are joined with commas by the caller (RFC 9110 section 5.3).
    public static func negotiate(offer: RawSpan, policy: DeflatePolicy) -> DeflateParameters? {
        var at = 0
        while at < offer.byteCount {
            let end = elementEnd(offer, from: at, separator: 0x2C)
            let element = DeflateOffer(offer.extracting(at..<end))
            if let agreed = element?.accepted(by: policy) { return agreed }
            at = end + 1
        }
        return nil
    }

    /// Writes the value of the response's Sec-WebSocket-Extensions.
    public func writeResponse(into writer: ByteWriter) {
        writer.append("permessage-deflate")
        if serverNoContextTakeover { writer.append("; server_no_context_takeover") }
        if clientNoContextTakeover { writer.append("; client_no_context_takeover") }
        if let bits = serverMaxWindowBits {
            writer.append("; server_max_window_bits=")
            writer.append(decimal: UInt64(bits))
        }
        if let bits = clientMaxWindowBits {
            writer.append("; client_max_window_bits=")
            writer.append(decimal: UInt64(bits))
        }
    }
}

/// One well-formed offer of permessage-deflate.
private struct DeflateOffer {
    private var serverNoContextTakeover = false
    private var clientNoContextTakeover = false
    private var serverMaxWindowBits: UInt8?
    private var namesClientMaxWindowBits = false
    private var clientMaxWindowBits: UInt8?

    /// nil for another extension, and for a parameter that is unknown, doubled or malformed
    /// (RFC 7692 section 7.1: such an offer must be declined).
    init?(_ element: RawSpan) {
        var at = elementEnd(element, from: 0, separator: 0x3B)
        let name = element.extracting(0..<at).trimmed()
        guard name.equals("permessage-deflate") else { return nil }
        while at < element.byteCount {
            let start = at + 1
            at = elementEnd(element, from: start, separator: 0x3B)
            guard add(element.extracting(start..<at)) else { return nil }
        }
    }

    private mutating func add(_ parameter: RawSpan) -> Bool {
        let split = parameter.firstOffset(of: 0x3D)
        let hasValue = split < parameter.byteCount
        let name = parameter.extracting(0..<split).trimmed()
        let value = parameter.extracting(min(split + 1, parameter.byteCount)..<parameter.byteCount)
        if name.equals("server_no_context_takeover") {
            guard !hasValue, !serverNoContextTakeover else { return false }
            serverNoContextTakeover = true
        } else if name.equals("client_no_context_takeover") {
            guard !hasValue, !clientNoContextTakeover else { return false }
            clientNoContextTakeover = true
        } else if name.equals("server_max_window_bits") {
            guard hasValue, serverMaxWindowBits == nil, let bits = windowBits(value) else {
                return false
            }
            serverMaxWindowBits = bits
        } else if name.equals("client_max_window_bits") {
            // Section 7.1.2.2: in an offer the value is optional, a hint.
            guard !namesClientMaxWindowBits else { return false }
            namesClientMaxWindowBits = true
            guard hasValue else { return true }
            guard let bits = windowBits(value) else { return false }
            clientMaxWindowBits = bits
        } else {
            return false
        }
        return true
    }

    func accepted(by policy: DeflatePolicy) -> DeflateParameters? {
        let serverBits = min(serverMaxWindowBits ?? 15, policy.serverMaxWindowBits)
        // zlib's raw deflate has no 256-byte window, and 7.1.2.1 lets a server only go below what
        // was offered, so an offer of 8 cannot be met.
        guard serverBits >= 9 else { return nil }
        var agreed = DeflateParameters(
            serverNoContextTakeover: serverNoContextTakeover || policy.serverNoContextTakeover,
            clientNoContextTakeover: clientNoContextTakeover || policy.clientNoContextTakeover)
        if serverMaxWindowBits != nil || serverBits < 15 { agreed.serverMaxWindowBits = serverBits }
        // 7.1.2.2: without the parameter in the offer the response must not have it either.
        if namesClientMaxWindowBits {
            let clientBits = min(clientMaxWindowBits ?? 15, policy.clientMaxWindowBits)
            if clientMaxWindowBits != nil || clientBits < 15 {
                agreed.clientMaxWindowBits = clientBits
            }
        }
        return agreed
    }
}

/// Offset of the next `separator` outside quoted strings (RFC 9110 section 5.6.4), or the end.
private func elementEnd(_ bytes: RawSpan, from start: Int, separator: UInt8) -> Int {
    var at = start
    var isQuoted = false
    while at < bytes.byteCount {
        let byte = bytes.byte(at: at)
        if byte == 0x22 {
            isQuoted.toggle()
        } else if isQuoted, byte == 0x5C {
            at += 1
        } else if !isQuoted, byte == separator {
            return at
        }
        at += 1
    }
    return bytes.byteCount
}

/// 8 to 15 in decimal without leading zeros (RFC 7692 section 7.1.2), as a token or quoted; nil for
/// anything else.
private func windowBits(_ value: RawSpan) -> UInt8? {
    var digits = value.trimmed()
    let isQuoted = digits.byteCount >= 2 && digits.byte(at: 0) == 0x22
    if isQuoted {
        guard digits.byte(at: digits.byteCount - 1) == 0x22 else { return nil }
        digits = digits.extracting(1..<digits.byteCount - 1)
    }
    var bits = 0
    var at = 0
    while at < digits.byteCount {
        // RFC 6455 9.1: a quoted value means what the token would mean once it is unquoted.
        if isQuoted, digits.byte(at: at) == 0x5C { at += 1 }
        guard at < digits.byteCount else { return nil }
        let digit = Int(digits.byte(at: at)) - 0x30
        guard (0...9).contains(digit), bits > 0 || digit > 0 else { return nil }
        bits = bits * 10 + digit
        guard bits <= 15 else { return nil }
        at += 1
    }
    return bits >= 8 ? UInt8(bits) : nil
}
