// What the administering commands share: the way to the directory, and what is said when it is not
// there. They work beside a running service: SQLite keeps the two apart.

import ChatModel
import Glibc
import ShardRuntime
import Stores

extension StartupFailure {
    static let usage: Int32 = 64
}

enum DirectoryNeed {
    /// Made if it is not there.
    case made
    /// Something that only asks or changes makes no directory where a path was mistyped.
    case found
}

func withDataDirectory(
    _ settings: Configuration, _ need: DirectoryNeed,
    _ body: (DataDirectory) throws(StartupFailure) -> Void
) throws {
    do throws(StartupFailure) {
        if need == .found, unsafe access(settings.dataDirectory, F_OK) != 0 {
            throw StartupFailure(
                StartupFailure.configuration,
                """
                DATA_DIR: there is no directory \(settings.dataDirectory). Set DATA_DIR to the \
                service's, or start the service once, which makes it.
                """)
        }
        // Safety: `access` above was given a string that lives for the call.
        let data = try DataDirectory(path: settings.dataDirectory)
        if need == .found { _ = try data.loadTenants(settings) }
        try body(data)
    } catch {
        throw fail(error)
    }
}

func withDirectoryStore(
    _ data: DataDirectory, _ body: (DirectoryStore) throws(SQLiteError) -> Void
) throws(StartupFailure) {
    let store = try data.directoryStore()
    do throws(SQLiteError) {
        try body(store)
    } catch {
        // SQLITE_BUSY after five seconds of waiting, SQLITE_LOCKED.
        let isHeld = error.code & 0xFF == 5 || error.code & 0xFF == 6
        throw StartupFailure(
            StartupFailure.unavailable,
            isHeld
                ? "\(data.directory) is locked by another process for 5 seconds now; try again."
                : "\(data.directory) cannot be used: \(error.description)")
    }
}

func unknownTenant(_ name: String, among known: [String]) -> StartupFailure {
    let some = known.prefix(10).joined(separator: ", ")
    let rest = known.count > 10 ? " and \(known.count - 10) more ('chat-service tenant list')" : ""
    return StartupFailure(
        StartupFailure.usage,
        known.isEmpty
            ? "There is no tenant \(shown(name)), nor any other; 'chat-service tenant create' makes one."
            : "There is no tenant \(shown(name)). There are: \(some)\(rest).")
}
