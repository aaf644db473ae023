// Sizes in pixels that scrolling and drawing count with; timeline.css has the same.

/** The height of a step in the list. */
export const ROW = 26;
/** The height of a lane. */
export const LANE = 34;
/** The width of a lane's name, and where there is little room. */
export const LABEL = 168;
export const LABEL_NARROW = 88;
/** Up to which width there is little room. */
export const NARROW = 620;
/** The most that steps take of the page; what is more is scrolled to. */
export const TALL = 420;
