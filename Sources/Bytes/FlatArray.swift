// Owner: one loop. A growing array of plain values, for what each turn of a loop fills and empties.
// An Array that is a class's property is registered with the exclusivity checker whenever it is
// appended to; this one is reached through a `let`, so appending costs a compare and a store.

@safe public final class FlatArray<Element: BitwiseCopyable>: RandomAccessCollection {
    // Safety: base holds capacity elements, [0, count) initialised; both pointers are this object's
    // own.
    @usableFromInline @unsafe struct Header {
        @usableFromInline var base: UnsafeMutablePointer<Element>
        @usableFromInline var count: Int
        @usableFromInline var capacity: Int

        init(capacity: Int) {
            unsafe base = UnsafeMutablePointer<Element>.allocate(capacity: capacity)
            unsafe count = 0
            unsafe self.capacity = capacity
        }
    }

    @usableFromInline let header = UnsafeMutablePointer<Header>.allocate(capacity: 1)

    public init(capacity: Int = 64) {
        unsafe header.initialize(to: Header(capacity: capacity > 0 ? capacity : 1))
    }

    deinit {
        unsafe header.pointee.base.deallocate()
        unsafe header.deallocate()
    }

    @inlinable public var startIndex: Int { 0 }
    @inlinable public var endIndex: Int { count }
    @inlinable public var count: Int { unsafe header.pointee.count }
    @inlinable public var isEmpty: Bool { count == 0 }
    @inlinable public var last: Element? { isEmpty ? nil : self[count &- 1] }

    @inlinable public subscript(index: Int) -> Element {
        @inline(always) get {
            precondition(index >= 0 && index < count, "read past the end")
            // Safety: the bound was checked on the line above.
            return unsafe header.pointee.base[index]
        }
        @inline(always) set {
            precondition(index >= 0 && index < count, "write past the end")
            // Safety: the bound was checked on the line above.
            unsafe header.pointee.base[index] = newValue
        }
    }

    @inlinable @inline(always) public func append(_ element: Element) {
        let count = count
        if unsafe count == header.pointee.capacity { grow() }
        // Safety: there is room for one more.
        unsafe header.pointee.base[count] = element
        unsafe header.pointee.count = count &+ 1
    }

    @inlinable public func popLast() -> Element? {
        guard let element = last else { return nil }
        unsafe header.pointee.count &-= 1
        return element
    }

    /// Keeps the memory.
    @inlinable public func removeAll() { unsafe header.pointee.count = 0 }

    @usableFromInline @inline(never) func grow() {
        let larger = unsafe Header(capacity: header.pointee.capacity * 2)
        // Safety: the new memory is twice the old, and nobody else holds the old.
        unsafe larger.base.update(from: header.pointee.base, count: count)
        unsafe header.pointee.base.deallocate()
        unsafe header.pointee.base = larger.base
        unsafe header.pointee.capacity = larger.capacity
    }

    /// The first element's address; valid until the next append.
    @unsafe @inlinable public var address: UnsafeMutablePointer<Element> {
        unsafe header.pointee.base
    }
}
