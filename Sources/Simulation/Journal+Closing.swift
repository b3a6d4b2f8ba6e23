// Conversations that are closed by themselves: not too early, and in the end all of them.

import ChatModel

extension Journal {
    func checkClosing(_ id: Identifier) {
        guard let row = archive.rows[id], let last = archive.logs[id]?.last else { return }
        let limit = Setting.autoCloseSeconds * 1000
        var previous: UInt64 = 0
        for entry in archive.logs[id] ?? [] {
            // Nobody here knows of what was written elsewhere until they meet it.
            if archive.foreign[id]?.contains(entry.seq) ?? false { continue }
            if Self.isClosing(entry) {
                count("closed as inactive")
                if row.tenant.value != 0 { around.violate("a tenant's conversation is closed") }
                if entry.createdAtMilliseconds < previous + limit {
                    around.violate("a conversation is closed while something is said in it")
                }
            }
            // Not the latest of all: the wall clock may have been set back.
            previous = entry.createdAtMilliseconds
        }
        let isWaitedFor = row.status == .open || row.status == .pending
        // A page a second, of two conversations.
        let slack = UInt64(archive.order.count) * 1000 + 3000
        if row.tenant.value == 0, isWaitedFor,
            last.createdAtMilliseconds + limit + slack < around.agenda.milliseconds
        {
            around.violate("a conversation in which nothing is said is never closed")
        }
    }

    private static func isClosing(_ entry: KeptEntry) -> Bool {
        entry.kind == .status
            && String(decoding: entry.body.bytes.array(), as: UTF8.self).contains(
                "\"reason\":\"inactive\"")
    }
}
