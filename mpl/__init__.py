"""Meta pseudo labels: the discrete object is a label, or a sentence, that a teacher proposes.

The student learns from the teacher's proposals, and the teacher from how well the student then
does on labelled data; the meta update itself is written once, for images, text or anything else
(Pham 2021, ch. 5 and 6).
"""
