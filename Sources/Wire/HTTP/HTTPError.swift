/// Why a request was refused. Each reason has one status and one sentence; a connection that met
/// one answers with it and closes, because the place where the next request starts is no longer
/// known.
public enum HTTPError: Error, Equatable, Sendable, CaseIterable {
    // The request line.
    case badRequestLine, badMethod, notImplemented, badTarget, badVersion, unsupportedVersion
    case requestLineTooLong
    // Lines and header fields.
    case nullByte, bareLineFeed, bareCarriageReturn, obsoleteFolding
    case badHeaderName, whitespaceBeforeColon, badHeaderValue, duplicateField
    case headTooLarge, tooManyHeaders
    // Host.
    case missingHost, duplicateHost, badHost
    // Framing.
    case badContentLength, duplicateContentLength, conflictingLength
    case badTransferEncoding, unsupportedTransferCoding, transferEncodingInHTTP10
    case expectationFailed
    // The chunked body.
    case badChunkSize, badChunkExtension, chunkLineTooLong, badChunk
    case badTrailer, forbiddenTrailer, trailersTooLarge

    /// The status code of the answer (RFC 9110 section 15; 431 is RFC 6585 section 5).
    public var status: Int {
        switch self {
        case .requestLineTooLong: 414
        case .expectationFailed: 417
        case .headTooLarge, .tooManyHeaders, .trailersTooLarge: 431
        case .notImplemented, .unsupportedTransferCoding: 501
        case .unsupportedVersion: 505
        default: 400
        }
    }

    /// What is wrong, as a sentence for the answer's body and the log.
    public var detail: StaticString {
        switch self {
        case .badRequestLine: "The request line is not a method, a target and a version."
        case .badMethod: "The method is not a token followed by one space."
        case .notImplemented: "This server does not implement the method."
        case .badTarget: "The request target is malformed or has the wrong form for the method."
        case .badVersion: "The HTTP version is malformed."
        case .unsupportedVersion: "This server speaks HTTP/1.1 and HTTP/1.0 only."
        case .requestLineTooLong: "The request line is longer than this server reads."
        case .nullByte: "The request head holds a NUL byte."
        case .bareLineFeed: "A line ends in LF without CR."
        case .bareCarriageReturn: "A line holds CR without LF."
        case .obsoleteFolding: "A header line starts with whitespace; folded lines are refused."
        case .badHeaderName: "A header line does not start with a field name and a colon."
        case .whitespaceBeforeColon: "Whitespace stands between a field name and its colon."
        case .badHeaderValue: "A header value holds a control byte or breaks its field's grammar."
        case .duplicateField: "A header field that may stand only once is repeated."
        case .headTooLarge: "The request head is larger than this server reads."
        case .tooManyHeaders: "The request has more header fields than this server reads."
        case .missingHost: "An HTTP/1.1 request needs a Host field."
        case .duplicateHost: "The Host field is repeated."
        case .badHost: "The Host field is not a host with an optional port."
        case .badContentLength: "Content-Length is not a decimal number of supported size."
        case .duplicateContentLength: "Content-Length is repeated."
        case .conflictingLength: "Content-Length and Transfer-Encoding stand in one request."
        case .badTransferEncoding: "Transfer-Encoding is malformed or does not end in one chunked."
        case .unsupportedTransferCoding: "Only the chunked transfer coding is implemented."
        case .transferEncodingInHTTP10: "HTTP/1.0 has no Transfer-Encoding."
        case .expectationFailed: "The only supported expectation is 100-continue."
        case .badChunkSize: "A chunk size is not a hexadecimal number of supported size."
        case .badChunkExtension: "A chunk extension is malformed."
        case .chunkLineTooLong: "A chunk's size line is longer than this server reads."
        case .badChunk: "A chunk's data is not followed by CRLF."
        case .badTrailer: "A trailer field is malformed."
        case .forbiddenTrailer: "A trailer field that belongs into the head is refused."
        case .trailersTooLarge: "The trailer section is larger than this server reads."
        }
    }
}

/// Upper bounds of one request head. Lengths count the line ends.
public struct HTTPLimits: Equatable, Sendable {
    public let requestLineBytesMax: UInt32
    public let headBytesMax: UInt32
    public let headerCountMax: UInt32

    public init(
        requestLineBytesMax: UInt32 = 8192, headBytesMax: UInt32 = 16384,
        headerCountMax: UInt32 = 64
    ) {
        precondition(
            requestLineBytesMax <= headBytesMax, "a request line is a part of the head")
        precondition(headBytesMax <= 1 << 24, "a head of many megabytes is no head")
        precondition(
            headerCountMax <= UInt32(HTTPRequestHead.fieldsMax), "the table has a fixed size")
        self.requestLineBytesMax = requestLineBytesMax
        self.headBytesMax = headBytesMax
        self.headerCountMax = headerCountMax
    }
}
