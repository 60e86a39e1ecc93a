// The deadlines of all links of an endpoint, the earliest on top.

import RIBase

/// A binary heap that knows where each link stands in it: O(log n) to set, O(1) to look.
struct DeadlineHeap {
  private var links: [SlotID] = []
  private var deadlines: [Instant] = []
  /// A link's place, by the index of its slot; -1: none.
  private var places: [Int32] = []

  var first: (link: SlotID, deadline: Instant)? {
    links.isEmpty ? nil : (links[0], deadlines[0])
  }

  /// Sets a link's deadline; nil removes it.
  mutating func set(_ link: SlotID, _ deadline: Instant?) {
    let index = Int(link.index)
    while places.count <= index { places.append(-1) }
    let place = Int(places[index])
    guard let deadline else {
      if place >= 0 { remove(at: place) }
      return
    }
    if place < 0 {
      links.append(link)
      deadlines.append(deadline)
      places[index] = Int32(links.count - 1)
      rise(links.count - 1)
    } else {
      links[place] = link
      let isEarlier = deadline < deadlines[place]
      deadlines[place] = deadline
      if isEarlier { rise(place) } else { sink(place) }
    }
  }

  private mutating func remove(at place: Int) {
    let last = links.count - 1
    places[Int(links[place].index)] = -1
    if place != last {
      links[place] = links[last]
      deadlines[place] = deadlines[last]
      places[Int(links[place].index)] = Int32(place)
    }
    links.removeLast()
    deadlines.removeLast()
    if place != last {
      rise(place)
      sink(place)
    }
  }

  private mutating func swap(_ a: Int, _ b: Int) {
    links.swapAt(a, b)
    deadlines.swapAt(a, b)
    places[Int(links[a].index)] = Int32(a)
    places[Int(links[b].index)] = Int32(b)
  }

  private mutating func rise(_ place: Int) {
    var i = place
    while i > 0, deadlines[i] < deadlines[(i - 1) / 2] {
      swap(i, (i - 1) / 2)
      i = (i - 1) / 2
    }
  }

  private mutating func sink(_ place: Int) {
    var i = place
    while true {
      var least = i
      let left = 2 * i + 1
      let right = left + 1
      if left < links.count, deadlines[left] < deadlines[least] { least = left }
      if right < links.count, deadlines[right] < deadlines[least] { least = right }
      guard least != i else { return }
      swap(i, least)
      i = least
    }
  }
}
