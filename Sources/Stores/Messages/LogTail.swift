// Shared by the writer and the readers: the newest entries of the conversations' logs, those that
// are durable in the table `tail` and not yet moved to `entries`.
//
//     a conversation's log:  1 ........ k | k+1 ........ head
//                            `entries`      here (and in rows of `tail`)
//
// Only the writer changes it, always after a COMMIT: a unit's entries are appended before its
// outcome is told, and folded entries are removed once the table has them for good. So at every
// moment the entries here are the end of their log and all that come before them are in `entries`.
// Two things follow for a reader that takes its copy first and reads the table after that: what it
// does not find here is in the table, and what was acknowledged before the copy is in one of the
// two.
//
// The lock is held to look up and to change references; no I/O and no encoding happens under it.

import ChatModel
import Synchronization

/// The entries of one unit, or what is left of it, and the row of `tail` that makes them durable.
struct TailUnit: Sendable {
    let conversation: Identifier
    let entries: [StoredEntry]
    var row: Int64
}

/// So many of a conversation's oldest units here are in `entries` now.
struct FoldedLog: Sendable, Equatable {
    let conversation: Identifier
    var units = 0
    var entries = 0
    var bytes = 0
}

final class LogTail: Sendable {
    private let logs = Mutex<[Identifier: [TailUnit]]>([:])

    /// A conversation's units that are here, in the order of their seq, without a hole.
    func units(of conversation: Identifier) -> [TailUnit] {
        logs.withLock { $0[conversation] ?? [] }
    }

    var isEmpty: Bool { logs.withLock { $0.isEmpty } }

    /// Writer: after the COMMIT that made them durable, and before anybody is told.
    func append(_ units: [TailUnit]) {
        logs.withLock { logs in
            for unit in units { logs[unit.conversation, default: []].append(unit) }
        }
    }

    /// Writer: after the COMMIT that put them into `entries`.
    func remove(_ folded: [FoldedLog]) {
        // What is removed whole goes out of scope behind the lock: readers do not wait for its
        // release.
        var removed: [[TailUnit]] = []
        removed.reserveCapacity(folded.count)
        logs.withLock { logs in
            for log in folded {
                guard let held = logs[log.conversation]?.count else { continue }
                precondition(log.units <= held, "more units were folded than the tail held")
                if log.units == held {
                    removed.append(logs.removeValue(forKey: log.conversation) ?? [])
                } else {
                    logs[log.conversation]?.removeFirst(log.units)
                }
            }
        }
        withExtendedLifetime(removed) {}
    }
}
