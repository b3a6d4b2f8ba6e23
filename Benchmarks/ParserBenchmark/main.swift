// The parser and frame path, operation by operation: nanoseconds, and how often memory was asked for.
//
//     swift run -c release parser-benchmark            a table
//     swift run -c release parser-benchmark --check    also exit 1 unless every count is 0
//
// Times are told, counts are held: a count does not depend on the machine.

import API
import Bytes
import CAllocations
import CLinux
import Glibc
import Ingest
import Rings
import Wire

private struct Result {
    let name: String
    let nanoseconds: Double
    let allocations: Double
}

/// The median of seven rounds of `operations` calls; allocations are counted over all of them.
private func measure(_ name: String, operations: Int = 200_000, _ operation: () -> Void) -> Result {
    for _ in 0..<10_000 { operation() }
    var times: [Double] = []
    times.reserveCapacity(7)
    var allocations: UInt = 0
    for _ in 0..<7 {
        let before = ca_allocation_count()
        let start = cl_monotonic_nanoseconds()
        for _ in 0..<operations { operation() }
        times.append(Double(cl_monotonic_nanoseconds() - start) / Double(operations))
        allocations += ca_allocation_count() - before
    }
    times.sort()
    return Result(
        name: name, nanoseconds: times[3], allocations: Double(allocations) / Double(7 * operations)
    )
}

private let body =
    #"{"user_id":"user42","channel":"web","content":{"type":"text","text":"Where is my order 1234?"}}"#

private let request = ByteBlock(
    """
    POST /api/v2/chat/message HTTP/1.1\r
    Host: chat.example.com\r
    User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36\r
    Accept: application/json\r
    Accept-Encoding: gzip, deflate, br\r
    Authorization: Bearer eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJ1c2VyNDIifQ.c2lnbmF0dXJl\r
    Idempotency-Key: 0f8fad5b-d9cb-469f-a165-70867728950e\r
    X-Request-ID: 7c9e6679-7425-40de-944b-e07fc1f90ae7\r
    Content-Type: application/json\r
    Content-Length: \(body.utf8.count)\r
    \r
    \(body)
    """)

private func requestBenchmark() -> Result {
    let assembler = RequestAssembler()
    return measure("HTTP/1.1 request, 10 fields, whole") {
        guard case .complete? = try? assembler.next(request.bytes, bodyBytesMax: 65_536),
            Router.match(request.bytes.part(assembler.head.path)).route == .message
        else { preconditionFailure("the request is complete") }
        assembler.reset()
    }
}

private func splitRequestBenchmark() -> Result {
    let assembler = RequestAssembler()
    let count = request.count
    return measure("HTTP/1.1 request in three pieces") {
        for end in [100, count - 20, count] {
            let progress = try? assembler.next(
                request.bytes.extracting(0..<end), bodyBytesMax: 65_536)
            precondition(progress != nil, "no piece is refused")
        }
        assembler.reset()
    }
}

private func responseBenchmark() -> Result {
    let (responses, out) = (ResponseWriter(), ByteWriter(capacity: 4096))
    let content = ByteBlock(body)
    var number: UInt64 = 0
    return measure("HTTP/1.1 response head and body") {
        number += 1
        out.removeAll()
        var head = ResponseHead(
            status: 200, contentType: MediaType.json,
            requestID: RequestID(high: number, low: number), keepsAlive: true)
        head.rate = RateHeaders(
            tenantQuota: 1000, tenantRemaining: 993, tenantReset: 41, userQuota: 100,
            userRemaining: 99, userReset: 1)
        responses.write(
            head, bodyBytes: content.count, nowMilliseconds: 1_700_000_000_000, into: out)
        out.append(content)
    }
}

private func jsonBenchmark() -> Result {
    let parser = JSONParser(documentBytesMax: 65_536, depthMax: 32)
    let document = ByteBlock(body)
    return measure("JSON message, parsed and looked into") {
        guard parser.parse(document.bytes), let content = parser.field(JSONParser.root, "content"),
            let text = parser.field(content, "text"), parser.string(text).byteCount == 23
        else { preconditionFailure("the document has a text") }
    }
}

private func frameInBenchmark(payloadBytes: Int) -> Result {
    let writer = ByteWriter(capacity: payloadBytes + 64)
    let payload = ByteBlock([UInt8](repeating: 0x61, count: payloadBytes))
    writer.append(0x82)
    if payloadBytes < 126 {
        writer.append(0x80 | UInt8(payloadBytes))
    } else {
        writer.append(0xFE)
        writer.append(UInt8(payloadBytes >> 8))
        writer.append(UInt8(payloadBytes & 0xFF))
    }
    for byte: UInt8 in [1, 2, 3, 4] { writer.append(byte) }
    writer.append(payload.bytes, mask: 0x0403_0201)
    let frame = ReceiveBuffer(capacity: 16_384)
    frame.append(writer.bytes)
    let assemblies = WebSocketAssemblyPool()
    var inbound = WebSocketInbound(messageBytesMax: 65_536, deflate: nil)
    return measure("WebSocket frame in, \(payloadBytes) bytes unmasked") {
        var bytes = frame.bytes
        let step = try? inbound.next(&bytes, from: 0, assembling: assemblies)
        precondition(step?.next == bytes.byteCount, "the frame is whole")
    }
}

private func frameOutBenchmark() -> Result {
    let (out, payload) = (ByteWriter(capacity: 4096), ByteBlock(body))
    return measure("WebSocket frame out") {
        out.removeAll()
        WebSocketEncoder.text(payload.bytes, into: out)
    }
}

private func ringBenchmark() -> Result {
    let ring = Ring<UInt64>(capacity: 1024)
    let (port, inlet) = (Port(ring.producer, doorbell: nil), Inlet(ring.consumer))
    return measure("ring, 16 elements sent, flushed, drained", operations: 50_000) {
        for number in 0..<UInt64(16) { port.send(number) }
        port.flush()
        precondition(inlet.drain(limit: 64) { _ in } == 16, "all come through")
    }
}

/// The counter counts: one block is one allocation.
private func controlBenchmark() -> Result {
    let source = ByteBlock(body)
    return measure("control: a block is made") {
        precondition(ByteBlock(copying: source.bytes).count == source.count, "a copy is as long")
    }
}

private let control = controlBenchmark()
precondition(control.allocations == 1, "the counter does not count")

private let results = [
    requestBenchmark(), splitRequestBenchmark(), responseBenchmark(), jsonBenchmark(),
    frameInBenchmark(payloadBytes: 64), frameInBenchmark(payloadBytes: 4096), frameOutBenchmark(),
    ringBenchmark(),
]

private func column(_ text: String, _ width: Int) -> String {
    String(repeating: " ", count: max(0, width - text.count)) + text
}

print("\(column("ns", 9))  allocations  operation")
for result in results {
    let tenths = (result.nanoseconds * 10).rounded() / 10
    print("\(column("\(tenths)", 9))  \(column("\(result.allocations)", 11))  \(result.name)")
}
if CommandLine.arguments.contains("--check"), results.contains(where: { $0.allocations != 0 }) {
    print("an operation of the parser and frame path asked for memory")
    exit(1)
}
