// Shared by the writer and the readers: where the newest entries of the conversations' logs stand,
// those that are durable in the table `log` and that the table `entries` does not name yet.
//
//     a conversation's log:  1 ........ k | k+1 ........ head
//                            `entries`      here
//
// Only the writer changes it, always after a COMMIT: a unit's entries are appended before its
// outcome is told, and folded entries are removed once the table has them for good. So at every
// moment the entries here are the end of their log and all that come before them are in `entries`.
// Two things follow for a reader that takes its copy first and begins to read tables after that:
// what it does not find here is in `entries`, and what was acknowledged before the copy is in one
// of the two.
//
// The lock is held to look up and to change references; no I/O and no encoding happens under it.

import ChatModel
import Synchronization

/// Where an entry stands: a row of `log`, and there `bytes` bytes from `offset` on.
struct LogPlace: BitwiseCopyable, Equatable {
    let row: Int64
    let offset: UInt32
    let bytes: UInt32

    /// Not written yet.
    static let none = LogPlace(row: 0, offset: 0, bytes: 0)
}

/// What the tables `entries` and `keys` say of an entry; 72 bytes.
struct IndexedEntry: BitwiseCopyable {
    let seq: UInt64
    let kind: UInt8
    /// 1 inbound, 2 accepted only, 8 internal.
    let flags: UInt8
    let createdAtMilliseconds: UInt64
    /// The seq of the message that it answers; 0 for none.
    let answersSeq: UInt64
    let place: LogPlace
    let key: Digest?

    init(_ entry: StoredEntry, _ place: LogPlace) {
        seq = entry.seq
        kind = entry.kind.rawValue
        flags = entry.storedFlags
        createdAtMilliseconds = entry.createdAtMilliseconds
        answersSeq = entry.answersSeq
        self.place = place
        key = entry.idempotency
    }

    var isInbound: Bool { flags & 1 != 0 }
    var isInternal: Bool { flags & StoredEntry.internalFlag != 0 }
}

/// So many of a conversation's oldest entries here are in `entries` now.
struct FoldedLog: Sendable, Equatable {
    let conversation: Identifier
    var entries = 0
}

final class LogTail: Sendable {
    private let logs = Mutex<[Identifier: [IndexedEntry]]>([:])

    /// A conversation's entries that are here, in the order of their seq, without a hole.
    func entries(of conversation: Identifier) -> [IndexedEntry] {
        logs.withLock { $0[conversation] ?? [] }
    }

    var isEmpty: Bool { logs.withLock { $0.isEmpty } }

    /// Writer: after the COMMIT that made them durable, and before anybody is told.
    func append(_ units: [LoggedUnit]) {
        logs.withLock { logs in
            for unit in units { Self.append(unit, to: &logs[unit.conversation, default: []]) }
        }
    }

    private static func append(_ unit: LoggedUnit, to log: inout [IndexedEntry]) {
        var offset = unit.offset
        for entry in unit.entries {
            let bytes = LogCoding.byteCount(of: entry)
            let place = LogPlace(row: unit.row, offset: UInt32(offset), bytes: UInt32(bytes))
            log.append(IndexedEntry(entry, place))
            offset += bytes
        }
    }

    /// Writer: after the COMMIT that put them into `entries`.
    func remove(_ folded: [FoldedLog]) {
        // What is removed whole goes out of scope behind the lock: readers do not wait for its
        // release.
        var removed: [[IndexedEntry]] = []
        removed.reserveCapacity(folded.count)
        logs.withLock { logs in
            for log in folded {
                guard let held = logs[log.conversation]?.count else { continue }
                precondition(log.entries <= held, "more entries were folded than the tail held")
                if log.entries == held {
                    removed.append(logs.removeValue(forKey: log.conversation) ?? [])
                } else {
                    logs[log.conversation]?.removeFirst(log.entries)
                }
            }
        }
        withExtendedLifetime(removed) {}
    }
}
