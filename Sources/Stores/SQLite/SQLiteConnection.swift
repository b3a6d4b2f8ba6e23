// Owner: one thread. The thinnest type over SQLite's C interface: open, run, prepare, bind, step,
// read.

import Bytes
import CSQLite

/// What SQLite said: its result code and its own words.
public struct SQLiteError: Error, Sendable, CustomStringConvertible {
    public let code: Int32
    public let message: String

    public init(code: Int32, message: String) {
        self.code = code
        self.message = message
    }

    public var description: String { "\(message) (SQLite code \(code))" }

    /// The file is damaged or is no database.
    public var isCorruption: Bool { code & 0xFF == SQLITE_CORRUPT || code & 0xFF == SQLITE_NOTADB }
    /// The code for damage that SQLite itself cannot see.
    public static let corruption = SQLITE_CORRUPT
    public var isConstraint: Bool { code & 0xFF == SQLITE_CONSTRAINT }
}

@safe public final class SQLiteConnection {
    // Safety: opened in init, closed in deinit, used by one thread (SQLITE_OPEN_NOMUTEX).
    private let handle: OpaquePointer

    /// Once in the process, before SQLite does anything else.
    private static let settings: Int32 = csqlite_disable_memory_statistics()

    public init(path: String, isReadOnly: Bool = false) throws(SQLiteError) {
        precondition(Self.settings == SQLITE_OK, "SQLite was used before it was set up")
        var opened: OpaquePointer?
        let access = isReadOnly ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE
        let code = unsafe sqlite3_open_v2(path, &opened, access | SQLITE_OPEN_NOMUTEX, nil)
        guard code == SQLITE_OK, let connection = unsafe opened else {
            let message =
                unsafe opened.map { unsafe String(cString: sqlite3_errmsg($0)) } ?? "out of memory"
            unsafe sqlite3_close_v2(opened)
            throw SQLiteError(code: code, message: "\(path): \(message)")
        }
        unsafe handle = unsafe connection
        unsafe sqlite3_busy_timeout(handle, 5000)
        unsafe sqlite3_extended_result_codes(handle, 1)
    }

    deinit { unsafe sqlite3_close_v2(handle) }

    public func run(_ sql: String) throws(SQLiteError) {
        let code = unsafe sqlite3_exec(handle, sql, nil, nil, nil)
        if code != SQLITE_OK { throw error(code) }
    }

    public func prepare(_ sql: String) throws(SQLiteError) -> SQLiteStatement {
        var made: OpaquePointer?
        let code = unsafe sqlite3_prepare_v3(
            handle, sql, -1, UInt32(SQLITE_PREPARE_PERSISTENT), &made, nil)
        guard code == SQLITE_OK, let statement = unsafe made else { throw error(code) }
        return unsafe SQLiteStatement(statement, self)
    }

    func error(_ code: Int32) -> SQLiteError {
        unsafe SQLiteError(code: code, message: String(cString: sqlite3_errmsg(handle)))
    }

    public var isInTransaction: Bool { unsafe sqlite3_get_autocommit(handle) == 0 }
    /// True while a statement that reads is open: what is read meanwhile is as old as its
    /// beginning.
    var isReading: Bool { unsafe sqlite3_txn_state(handle, nil) != SQLITE_TXN_NONE }
    public var changedRows: Int { unsafe Int(sqlite3_changes(handle)) }
}

/// A prepared statement. Blocks are bound by reference and held until the next reset; the rest is
/// copied.
@safe public final class SQLiteStatement {
    // Safety: finalised in deinit, before its connection, which it keeps alive.
    private let handle: OpaquePointer
    private let connection: SQLiteConnection
    // Safety: as many pairs as the statement has parameters; freed in deinit, behind the statement.
    // SQLite is lent the pairs, which saves it an allocation for each id that is bound.
    private let pairs: UnsafeMutablePointer<(UInt64, UInt64)>
    private let parameters: Int32
    private var held: [ByteBlock] = []

    fileprivate init(_ handle: OpaquePointer, _ connection: SQLiteConnection) {
        unsafe self.handle = unsafe handle
        self.connection = connection
        parameters = unsafe sqlite3_bind_parameter_count(handle)
        unsafe pairs = UnsafeMutablePointer.allocate(capacity: Int(parameters))
        unsafe pairs.initialize(repeating: (0, 0), count: Int(parameters))
    }

    deinit {
        unsafe sqlite3_finalize(handle)
        unsafe pairs.deallocate()
    }

    private static var transient: sqlite3_destructor_type {
        // Safety: SQLITE_TRANSIENT is -1 by SQLite's definition; SQLite copies and never calls it.
        unsafe unsafeBitCast(-1 as Int, to: sqlite3_destructor_type.self)
    }

    public func reset() {
        unsafe sqlite3_reset(handle)
        if !held.isEmpty { held.removeAll(keepingCapacity: true) }
    }

    public func bind(_ index: Int32, _ value: Int64) {
        unsafe sqlite3_bind_int64(handle, index, value)
    }
    public func bind(_ index: Int32, _ value: UInt64) { bind(index, Int64(bitPattern: value)) }
    public func bindNull(_ index: Int32) { unsafe sqlite3_bind_null(handle, index) }

    public func bind(_ index: Int32, text: String) {
        unsafe sqlite3_bind_text(handle, index, text, Int32(text.utf8.count), Self.transient)
    }

    public func bind(_ index: Int32, text block: ByteBlock) {
        held.append(block)
        // Safety: the block is held until the reset.
        let address = unsafe block.address.assumingMemoryBound(to: CChar.self)
        unsafe sqlite3_bind_text(handle, index, address, Int32(block.count), nil)
    }

    /// nil is NULL.
    func bind(_ index: Int32, optional block: ByteBlock?) {
        if let block { bind(index, text: block) } else { bindNull(index) }
    }

    public func bind(_ index: Int32, blob block: ByteBlock) {
        held.append(block)
        // Safety: the block is held until the reset.
        unsafe sqlite3_bind_blob(handle, index, block.address, Int32(block.count), nil)
    }

    /// The writer's bytes themselves: it must not change until the reset.
    func bind(_ index: Int32, blob writer: ByteWriter) {
        let bytes = writer.bytes
        let count = Int32(bytes.byteCount)
        unsafe bytes.withUnsafeBytes { raw in
            // Safety: the caller keeps the writer alive and unchanged until the reset.
            _ = unsafe sqlite3_bind_blob(handle, index, raw.baseAddress, count, nil)
        }
    }

    /// 16 bytes, big-endian, so that the blobs sort like the numbers.
    public func bind(_ index: Int32, high: UInt64, low: UInt64) {
        precondition(index >= 1 && index <= parameters, "the statement has no such parameter")
        // Safety: the bound was checked on the line above. SQLite reads the pair until the
        // parameter is bound again, which is the only time when it is changed.
        let pair = unsafe pairs + Int(index - 1)
        unsafe pair.pointee = (high.bigEndian, low.bigEndian)
        unsafe sqlite3_bind_blob(handle, index, pair, 16, nil)
    }

    /// True when there is a row to read; false at the end.
    public func step() throws(SQLiteError) -> Bool {
        let code = unsafe sqlite3_step(handle)
        if code == SQLITE_ROW { return true }
        if code == SQLITE_DONE { return false }
        throw connection.error(code)
    }

    public func integer(_ column: Int32) -> Int64 { unsafe sqlite3_column_int64(handle, column) }
    public func unsigned(_ column: Int32) -> UInt64 { UInt64(bitPattern: integer(column)) }
    public func isNull(_ column: Int32) -> Bool {
        unsafe sqlite3_column_type(handle, column) == SQLITE_NULL
    }

    /// The column's bytes; valid until the next step or reset.
    @_lifetime(borrow self) public func bytes(_ column: Int32) -> RawSpan {
        let start = unsafe sqlite3_column_blob(handle, column)
        let count = unsafe Int(sqlite3_column_bytes(handle, column))
        // Safety: SQLite's memory stays put until the next step or reset of this statement.
        let span = unsafe RawSpan(
            _unsafeStart: start ?? UnsafeRawPointer(handle), byteCount: start == nil ? 0 : count)
        return unsafe _overrideLifetime(span, borrowing: self)
    }

    /// nil for NULL.
    func block(_ column: Int32) -> ByteBlock? {
        isNull(column) ? nil : ByteBlock(copying: bytes(column))
    }

    public func text(_ column: Int32) -> String { bytes(column).string() }

    /// A 16-byte big-endian column as two words; zeros when it has another length.
    public func words(_ column: Int32) -> (high: UInt64, low: UInt64) {
        let span = bytes(column)
        guard span.byteCount == 16 else { return (0, 0) }
        return (UInt64(bigEndian: span.load64(at: 0)), UInt64(bigEndian: span.load64(at: 8)))
    }
}
