/// A queue in an array: what was taken is given back in large steps, so that both ends cost O(1).
struct Fifo<Element> {
    private var elements: [Element] = []
    private var start = 0

    var count: Int { elements.count - start }
    var isEmpty: Bool { start == elements.count }
    var first: Element? { isEmpty ? nil : elements[start] }

    /// By the distance from the first element.
    subscript(place: Int) -> Element {
        get { elements[start + place] }
        set { elements[start + place] = newValue }
    }

    mutating func append(_ element: Element) { elements.append(element) }

    mutating func removeFirst() {
        precondition(!isEmpty, "nothing is taken from an empty queue")
        start += 1
        guard start == elements.count || start >= 1024 && start * 2 >= elements.count else {
            return
        }
        elements.removeSubrange(..<start)
        start = 0
    }
}
